"""The page itself: records in, one HTML document out that asks for nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from weakspot.explain.words import Word
from weakspot.methods import restored
from weakspot.predictions import Predictions
from weakspot.predictions.attributes import categorise
from weakspot.report import numbers
from weakspot.report.examples import Cams, Exhibits, Preview
from weakspot.report.thumbnails import Thumbnails
from weakspot.report.tree import tree_view
from weakspot.report.view import SliceView, views, weak_values
from weakspot.slices import Slices

_SHOWN_ELSEWHERE = ("cut_scores", "cut_errors", "notes")  # of a provenance


def render(
    predictions: Predictions,
    slices: Slices,
    *,
    preview: Preview | None = None,
    command: str = "",
    created: datetime | None = None,
    cams: Cams | None = None,
    title: str | None = None,
    words: Sequence[Sequence[Word]] = (),
) -> str:
    """The report of what a method found, as one HTML page.

    preview    row → what a person would look at: a picture, a text, or a record (a mapping). Without it
               examples are listed by id and attributes.
    command    the line that made the result, shown so that a reader can repeat it
    created    now, unless given
    cams       rows → one Grad-CAM overlay per row, shown beside the pictures of the heaviest examples and of
               a failing cluster's well-served neighbours
    words      of texts: the distinctive words of every slice

    The page makes no request: styles, script and pictures are inside, and its Content-Security-Policy admits
    only them, by their hashes. Everything from the records is escaped. It reads the same without the script,
    which only sorts tables.

    Raises ValueError if the slices were found in other predictions.
    """
    if not np.array_equal(np.asarray(slices.ids), predictions.ids):
        raise ValueError(
            f"the slices speak of {len(slices.ids)} examples, and their ids are not those of the "
            f"{len(predictions)} predictions; report them with the predictions they were found in"
        )
    method = restored(slices)
    audit = method.audited(predictions)
    audited, correct = audit.rows, audit.correct
    thumbnails = Thumbnails()
    exhibits = Exhibits(predictions, correct, preview, cams, thumbnails)
    columns = categorise(predictions.attributes)
    found = views(predictions, slices, columns, exhibits, words, method.noun)
    made_by = slices.provenance
    category = (made_by.get("settings") or {}).get("category")
    scores = made_by.get("cut_scores") or {}
    tree = None if slices.tree is None else tree_view(slices.tree, scores, found, exhibits)
    style = files("weakspot.report").joinpath("style.css").read_text(encoding="utf-8")
    script = files("weakspot.report").joinpath("sort.js").read_text(encoding="utf-8")
    pictures = thumbnails.css()
    template = environment().get_template("page.html.jinja")
    return template.render(
        title=title or _title(predictions, found),
        policy=policy_of([style, pictures], [script]),
        style=Markup(style),
        pictures=Markup(pictures),
        script=Markup(script),
        predictions=predictions,
        dataset=_word(predictions.manifest.get("dataset")),
        model=_word(predictions.manifest.get("model")),
        slices=found,
        method=slices.method,
        tree=tree,
        grad_cam=cams is not None,
        category=category,
        category_f1=None if category is None else _f1(predictions, category),
        notes=[*(made_by.get("notes") or ()), *method.advice(slices)],
        provenance={"method": slices.method, "predictions": predictions.manifest}
        | {name: value for name, value in made_by.items() if name not in _SHOWN_ELSEWHERE},
        weak=[] if correct is None else weak_values(columns, correct, predictions.counts, audited, found),
        worst=worst(found),
        loss=_mean(predictions.losses, predictions.counts),
        top_loss=max((_loss(view, "loss_inside") for view in found), default=0.0),
        command=command,
        created=created or datetime.now().astimezone(),
    )


def worst(found: Sequence[SliceView]) -> SliceView | None:
    """The slice that falls shortest of the rest: in accuracy, or where that is unknown, in loss."""
    gaps = [
        (s.accuracy_inside - s.accuracy_outside, view)
        for view, s in ((view, view.statistics) for view in found)
        if s.accuracy_inside is not None and s.accuracy_outside is not None
    ]
    if gaps:
        return min(gaps, key=lambda pair: pair[0])[1]
    return max(found, key=lambda view: _loss(view, "loss_inside") - _loss(view, "loss_outside"), default=None)


def _loss(view: SliceView, name: str) -> float:
    value = getattr(view.statistics, name)
    return 0.0 if value is None else float(value)


def _title(predictions: Predictions, found: Sequence[SliceView]) -> str:
    model = _word(predictions.manifest.get("model")) or "the model"
    dataset = _word(predictions.manifest.get("dataset")) or f"{len(predictions)} examples"
    low = worst(found)
    if low is None:
        return f"{model} on {dataset}"
    inside, outside = (getattr(low.statistics, f"accuracy_{side}") for side in ("inside", "outside"))
    if inside is None or outside is None or inside == outside:
        best = _loss(low, "loss_inside") < _loss(low, "loss_outside")
    else:
        best = inside > outside
    return f"Where {model} {'does best' if best else 'fails'} on {dataset}"


def _word(value: Any) -> str:
    """The name in a manifest entry, which is a word or a mapping that holds one."""
    if isinstance(value, Mapping):
        value = value.get("name")
    return "" if value is None else str(value)


def _f1(predictions: Predictions, category: str | int) -> float | None:
    """Of one category, over all examples: those that lack it in the prediction alone count too."""
    if predictions.labels is None or predictions.predictions is None:
        return None
    classes = predictions.classes()
    column = classes.index(str(category)) if category in classes else int(category)
    actual, said = (
        values[:, column] == 1 if values.ndim == 2 else values == column
        for values in (predictions.labels, predictions.predictions)
    )
    counts = np.ones(len(predictions)) if predictions.counts is None else predictions.counts
    both = float(counts @ actual + counts @ said)
    return 2 * float(counts @ (actual & said)) / both if both else None


def _mean(values: np.ndarray | None, counts: np.ndarray | None) -> float | None:
    return None if values is None else float(np.average(values, weights=counts))


def policy_of(styles: Sequence[str], scripts: Sequence[str]) -> str:
    """A Content-Security-Policy that admits these styles and scripts, inlined pictures, and nothing else."""

    def hashes(texts: Sequence[str]) -> str:
        digests = (hashlib.sha256(text.encode()).digest() for text in texts)
        return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)

    return (
        f"default-src 'none'; img-src data:; style-src {hashes(styles)}; script-src {hashes(scripts)}; "
        "base-uri 'none'; form-action 'none'"
    )


def environment() -> Environment:
    """Templates of this package; everything put into them is escaped."""
    jinja = Environment(
        loader=PackageLoader("weakspot.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters.update(
        number=numbers.count,
        percent=numbers.percent,
        decimal=numbers.decimal,
        times=numbers.times,
        plain=numbers.plain,
    )
    return jinja
