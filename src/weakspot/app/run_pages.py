"""A run, live: its examples by filter, each with Grad-CAM of any layer and class; a new slice, tested on the rest."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from weakspot.app.filters import Filter
from weakspot.app.forms import whole
from weakspot.app.media import Parts, Subject, Subjects, webp
from weakspot.app.pages import map_section, page
from weakspot.app.records import Record, Records
from weakspot.app.runs import Runs, own
from weakspot.app.selections import FEWEST, alike, select, turn_of
from weakspot.app.tree_pages import table
from weakspot.findings import Media
from weakspot.legible import printable_lines

_SHOWN = 60  # examples on a page
_THUMBNAIL = 160  # pixels
_LIKELIEST = 5  # classes of an example


@dataclass(frozen=True)
class Shown:
    """An example as a page shows it."""

    row: int
    id: str
    label: str | None
    prediction: str | None
    wrong: bool | None
    loss: float | None
    searched: bool
    text: str = ""


class RunPages:
    """The pages of one run.

    Args:
        runs: Those at hand.
        records: The same, read.
        parts_of: What the run of a folder was made of.
        home: Where new slices are kept.
    """

    def __init__(self, runs: Runs, records: Records, parts_of: Callable[[Path], Parts], home: Path) -> None:
        self._runs, self._records = runs, records
        self._subjects = Subjects(runs, parts_of)
        self._home = home
        self._selecting = Lock()  # of two at a time each would be the first

    def routes(self) -> list[Route]:
        return [
            Route("/run/{digest}", self.run),
            Route("/run/{digest}/ids.csv", self.ids),
            Route("/run/{digest}/image/{row:int}", self.image),
            Route("/run/{digest}/example/{row:int}", self.example),
            Route("/run/{digest}/cam/{row:int}", self.cam),
            Route("/run/{digest}/slices", self.select, methods=["POST"]),
        ]

    def run(self, request: Request) -> Response:
        record, words = self._record(request), request.query_params
        asked = Filter.read(words, record)
        subject, reason = self._subject(record)
        mask = asked.mask(record, _texts(record, subject) if asked.search else None)
        rows, start = asked.order(record, mask), whole(words, "from")
        shown = [self._shown(record, subject, int(row)) for row in rows[start:][:_SHOWN]]
        on_map = words.get("map") == "shown" or asked.lasso is not None
        points = record.points(asked.rows) if on_map else None
        return page(
            "run",
            points=points,
            map=map_section(points) if points else "",
            mapped=record.at is not None,
            record=record,
            run=record.run,
            asked=asked,
            shown=shown,
            found=len(rows),
            accuracy=_accuracy(record, rows),
            following=start + _SHOWN if start + _SHOWN < len(rows) else None,
            pictured=subject is not None and subject.pictures,
            reason=reason,
            inside=int(mask[record.searched].sum()),
            turn=turn_of(self._runs, record),
            fewest=FEWEST,
            hidden=_fields(asked),
        )

    def ids(self, request: Request) -> Response:
        record = self._record(request)
        asked = Filter.read(request.query_params, record)
        subject, _ = self._subject(record) if asked.search else (None, "")
        mask = asked.mask(record, _texts(record, subject) if asked.search else None)
        rows = [self._shown(record, None, int(row)) for row in asked.order(record, mask)]
        values = [
            (
                one.id,
                "searched" if one.searched else "held out",
                one.label,
                one.prediction,
                one.wrong,
                one.loss,
            )
            for one in rows
        ]
        return table(("id", "rows", "label", "prediction", "wrong", "loss"), values, "examples.csv")

    def image(self, request: Request) -> Response:
        record = self._record(request)
        row, side = _row(request, record), whole(request.query_params, "side", _THUMBNAIL)
        shown = self._at_hand(record).shown(row)
        if not isinstance(shown, Image.Image):
            raise HTTPException(404, "This example is no image.")
        return Response(webp(shown, min(max(side, 16), 1024)), media_type="image/webp")

    def cam(self, request: Request) -> Response:
        record, words = self._record(request), request.query_params
        target = _target(words.get("class", "predicted"), record, _row(request, record))
        picture = self._at_hand(record).cam(_row(request, record), words.get("layer", ""), target)
        return Response(webp(picture), media_type="image/webp")

    def example(self, request: Request) -> Response:
        record, words = self._record(request), request.query_params
        row = _row(request, record)
        subject, reason = self._subject(record)
        shown = None
        if subject is not None:
            try:
                shown = subject.shown(row)
            except (ValueError, OSError) as error:
                reason = printable_lines(str(error))
        pictured, layer = isinstance(shown, Image.Image), ""
        layers: tuple[str, ...] = ()
        if subject is not None and pictured:
            try:
                layers, layer = subject.layers, words.get("layer", "") or subject.own_layer
            except (ValueError, OSError) as error:
                reason = str(error)
        chosen = words.get("class", "predicted")
        _target(chosen, record, row)
        node = None if record.tree is None else record.tree.leaf_of(row)
        return page(
            "example",
            record=record,
            run=record.run,
            one=self._shown(record, subject, row),
            pictured=pictured,
            attributes=record.attributes.slice(row, 1).to_pylist()[0]
            if record.attributes.column_names
            else {},
            layers=layers,
            layer=layer,
            chosen=chosen,
            single=record.predictions.labels is not None and record.predictions.labels.ndim == 1,
            classes=record.predictions.classes(),
            likeliest=_likeliest(record, row),
            groups=[(key, name) for key, (name, rows) in record.groups.items() if row in rows],
            node=node,
            reason=reason,
        )

    async def select(self, request: Request) -> Response:
        async with request.form(max_files=0, max_fields=200) as form:
            words = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
        return RedirectResponse(await run_in_threadpool(self._select, request, QueryParams(words)), 303)

    def _select(self, request: Request, words: QueryParams) -> str:
        record = self._record(request)
        subject, _ = self._subject(record)
        texts, lasso = _texts(record, subject), None
        if words.getlist("row"):
            weights, said = self._ticked(record, words)
        else:
            asked = _defining(record, words)
            weights, said, lasso = asked.mask(record, texts).astype(np.float64), asked.words, asked.lasso
        folder = self._home / secrets.token_hex(8)
        media = Media() if subject is None else Media(subject.shown)
        written = None if texts is None else [texts[row] for row in range(len(record))]
        with self._selecting:
            select(record, weights, said, folder, turn_of(self._runs, record), media, written, lasso)
        config = own(record.run.folder, "config.yaml")
        if config is not None:  # so that its examples can be looked at as well
            shutil.copyfile(config, folder / "config.yaml")
        made = (run for run in self._runs.all() if run.folder.absolute() == folder.absolute())
        return next(made).address

    def _ticked(self, record: Record, words: QueryParams) -> tuple[Any, str]:
        """What is like the examples that were ticked, and how that is said."""
        rows = sorted({whole({"row": row}, "row") for row in words.getlist("row")})
        weights = alike(record, rows)
        names = [str(record.predictions.ids[row]) for row in rows]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return weights, f"like {', '.join(names[:3])}{more}"

    def _record(self, request: Request) -> Record:
        run = self._runs.find(request.path_params["digest"])
        if run is None or run.compares:
            raise HTTPException(404, "There is no such run, or no longer; the list shows those there are.")
        return self._records.of(run)

    def _subject(self, record: Record) -> tuple[Subject | None, str]:
        """The data of a run, or why they are not at hand."""
        try:
            subject = self._subjects.of(record)
            _ = subject.places, subject.pictures  # built, and looked at, once
        except Exception as error:  # of anyone's data, under a configuration that anyone may have written
            return None, printable_lines(str(error) or type(error).__name__)
        return subject, ""

    def _at_hand(self, record: Record) -> Subject:
        subject, reason = self._subject(record)
        if subject is None:
            raise HTTPException(404, reason)
        return subject

    def _shown(self, record: Record, subject: Subject | None, row: int) -> Shown:
        p = record.predictions
        try:
            shown = None if subject is None or subject.pictures else subject.shown(row)
        except (ValueError, OSError) as error:  # of this example alone: the page has others
            shown = printable_lines(str(error))
        text = shown if isinstance(shown, str) else ""
        if isinstance(shown, Mapping):
            text = " · ".join(f"{name}: {value}" for name, value in shown.items())
        return Shown(
            row,
            str(p.ids[row]),
            record.label(row),
            record.said(row),
            None if p.correct is None else not bool(p.correct[row]),
            None if p.losses is None else float(p.losses[row]),
            bool(record.searched[row]),
            text,
        )


def _row(request: Request, record: Record) -> int:
    row: int = request.path_params["row"]
    if row >= len(record):
        raise HTTPException(404, "The run has no such example.")
    return row


def _target(chosen: str, record: Record, row: int) -> int | None:
    """The class that Grad-CAM is asked for."""
    classes = record.predictions.classes()
    if chosen == "predicted":
        return None
    if chosen == "label":
        labels = record.predictions.labels
        if labels is None or labels.ndim != 1:
            raise ValueError("This record has no single label.")
        return int(labels[row])
    if chosen not in classes:
        raise ValueError(f"class={chosen[:100]} is neither predicted, nor label, nor one of the classes")
    return classes.index(chosen)


def _defining(record: Record, words: QueryParams) -> Filter:
    """What a form asks for, of all examples, if it is of what they are."""
    asked = replace(Filter.read(words, record), rows="")
    if not asked.defines:
        raise ValueError(
            "A slice is tested by what its examples are: filter by attributes, label, text or a lasso on the map, and "
            "neither by what the model says nor by whether it is right; or tick some examples."
        )
    return asked


def _texts(record: Record, subject: Subject | None) -> Mapping[int, str] | None:
    """What is written in each row, where examples are texts."""
    texts = None if subject is None else subject.dataset.texts
    if subject is None or texts is None:
        return None
    places = (subject.places.get(str(id)) for id in record.predictions.ids)
    return {row: "" if place is None else texts[place] for row, place in enumerate(places)}


def _fields(asked: Filter) -> list[tuple[str, str]]:
    """What a form repeats of a filter: all but the examples' part."""
    return [(name, value) for name, value in parse_qsl(asked.query) if name != "rows"]


def _accuracy(record: Record, rows: Any) -> float | None:
    p = record.predictions
    if p.correct is None or not len(rows):
        return None
    counts = None if p.counts is None else np.asarray(p.counts)[rows]
    return float(np.average(np.asarray(p.correct)[rows], weights=counts))


def _likeliest(record: Record, row: int) -> list[tuple[str, float]]:
    """The classes with the highest outputs, as probabilities, of a classification."""
    p = record.predictions
    if p.outputs is None or p.task is None or p.task.kind != "classification" or p.outputs.shape[1] < 2:
        return []
    z = np.asarray(p.outputs[row], dtype=np.float64)
    shares = np.exp(z - z.max())
    shares /= shares.sum()
    return [(p.classes()[c], float(shares[c])) for c in np.argsort(-shares)[:_LIKELIEST]]
