"""Everything there is to say about slices, computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool
from pydantic_core import to_jsonable_python

from weakspot.evaluation.confirmation import Evidence
from weakspot.findings.clusters import clusters_of, neighbours_of
from weakspot.findings.contrasts import contrasts_of, error_contrast
from weakspot.findings.examined import Judged, judge
from weakspot.findings.examples import examples_of
from weakspot.findings.map import MapKind, map_of
from weakspot.findings.portraits import SHOWN, Painter
from weakspot.findings.record import (
    SCHEMA,
    Confirmation,
    Finding,
    Findings,
    Portrait,
    Slice,
    memberships_table,
)
from weakspot.findings.regions import Region, find_regions, stronger
from weakspot.findings.sentences import explanation, name_of, sentence, title
from weakspot.findings.testing import evidence_of, evidence_of_region, without_interval
from weakspot.findings.units import Examined, Unit, is_worse, units_of
from weakspot.findings.whole import describe_whole
from weakspot.methods import Method, memberships_of, method_of
from weakspot.predictions import Predictions
from weakspot.slices import Memberships, Slices, as_weights

LEVEL = 0.05
_POINTS = 300  # of a curve: more cannot be told apart
_LOOK_ELSEWHERE = (
    "Only the model's last layer was searched, in which what the model mistakes for the same lies together. An earlier "
    "layer (model.embed_layer=NAME) or another model's embedding (encoder=MODEL) may tell it apart."
)
_ELSEWHERE = ("cut_scores", "notes")  # parts of a provenance that have a field of their own


@dataclass(frozen=True, eq=False)
class Sides:
    """The examples that slices are described over, and those that they are tested on.

    Attributes:
        described, tested: Both, judged; `tested` is `described` itself where nothing could be tested.
        here, there: The same with the memberships of the slices.
        searched: Which of the described examples the slices were sought in; all, where they were found elsewhere, for
            then any of them may say where a slice lies.
        mode: As in `Confirmation`.
    """

    described: Judged
    tested: Judged
    here: Examined
    there: Examined
    searched: Bool[np.ndarray, " r"]
    mode: Any

    @property
    def honest(self) -> bool:
        """Whether there are examples that the slices were not found in."""
        return self.mode in ("held_out", "other")


def build(
    predictions: Predictions,
    slices: Slices,
    *,
    confirm: Predictions | Bool[np.ndarray, " n"] | None = None,
    searched: int | None = None,
    source: str = "",
    hide: Sequence[str] = (),
    texts: Sequence[str] | None = None,
    stability: Sequence[float | None] | None = None,
    notes: Sequence[str] = (),
    command: str = "",
    created: datetime | None = None,
    level: float = LEVEL,
    seed: int = 0,
    members: int | Literal["all"] = SHOWN,
    projection: MapKind = "pca",
) -> Findings:
    """Everything there is to say about slices: tested, extended, merged, named and described.

    Slices are tested on examples that they were not found in, within labels; what is confirmed is extended as far as
    errors stay commoner than beyond, and what is one place is merged into one finding.

    Args:
        predictions: What the slices are described over.
        slices: What a method found, with a weight for each of these predictions.
        confirm: What to test on: the rows (n,) of `predictions` that no slice was sought in (if there are none, too
            few examples could be set aside; all of them, where the slices were found elsewhere), or other predictions
            of the same model. None tests nothing.
        searched: How many examples the slices were sought in, where these are not among `predictions`.
        source: What is tested on, in words, for whoever reads the findings; or why nothing is.
        hide: Attributes that restate the target, and so explain nothing; the target itself under another name is
            found without being told.
        texts: What is written in each example, for its words.
        stability: Of every slice, if it was measured.
        notes: Words of caution beside the method's own.
        command: The line that made the slices.
        created: Now, unless given.
        level: False discovery rate of what is confirmed.
        seed: Of samples and permutations.
        members: How many top examples of each finding and slice are kept; "all" describes every other member, too.
        projection: What the map of the examples is made by; "none" makes none.

    Returns:
        The findings.

    Raises:
        ImportError: If the map needs a library that is missing.
        ValueError: If the slices were found in other predictions, or nothing tells good from bad.
    """
    _check(predictions, slices)
    method = method_of(slices)
    better = method.seeks == "better"
    category = (slices.provenance.get("settings") or {}).get("category")
    sides = _sides(predictions, slices, confirm, better, category is not None)
    units = units_of(sides.here, sides.there, sides.searched, sides.described.by_label)
    evidence = evidence_of(units, sides.there, sides.mode, better, level, seed)
    painter = Painter(sides.described, hide, texts, better, SHOWN if members == "all" else members)
    regions = find_regions(
        [
            (unit, e)
            for unit, e in zip(units, evidence, strict=True)
            if is_worse(unit, sides.here, sides.there)
        ],
        sides.here,
        sides.there,
        sides.searched,
        painter.subject,
        partial(evidence_of_region, better=better, level=level, seed=seed),
        seed,
    )
    groups = chain((region.weights for region in regions), sides.here.memberships)
    portraits = painter.portraits(Memberships.of_rows(groups, len(sides.described.rows)))
    findings = _ordered(
        [
            _finding(region, portrait, sides, method.noun, better)
            for region, portrait in zip(regions, portraits, strict=False)
        ]
    )
    made = _slices(
        slices, units, evidence, portraits[len(regions) :], findings, method, sides, painter, stability
    )
    clusters = () if slices.tree is None else clusters_of(slices.tree, slices.statistics)
    memberships = _memberships(regions, findings, slices, predictions, sides.described)
    rows = _shown(findings, made, clusters, memberships if members == "all" else None)
    confirmation = _confirmation(sides, searched, source, level)
    manifest = predictions.manifest
    dataset, model = _word(manifest.get("dataset")), _word(manifest.get("model"))
    return Findings(
        schema=SCHEMA,
        title=title(findings, confirmation, dataset, model, len(predictions), better),
        method=slices.method,
        seeks=method.seeks,
        dataset=dataset,
        model=model,
        split=_word(manifest.get("split")),
        command=command,
        created=(created or datetime.now().astimezone()).isoformat(timespec="seconds"),
        whole=describe_whole(sides.described, predictions, category, painter),
        confirmation=confirmation,
        findings=findings,
        slices=made,
        examples=examples_of(rows, predictions, sides.described),
        clusters=clusters,
        cut_scores=_cut_scores(slices.provenance.get("cut_scores") or {}),
        near_misses=tuple(method.near_misses(slices)),
        notes=(
            *_on_embedding(predictions),
            *_where_else(predictions, method, findings, sides.honest),
            *(slices.provenance.get("notes") or ()),
            *method.advice(slices),
            *notes,
        ),
        provenance=_provenance(slices, predictions),
        memberships=memberships,
        map=map_of(sides.described, painter.columns, projection, seed, slices.tree),
    )


def _check(predictions: Predictions, slices: Slices) -> None:
    if not np.array_equal(np.asarray(slices.ids), predictions.ids):
        raise ValueError(
            f"the slices speak of {len(slices.ids)} examples, and their ids are not those of the "
            f"{len(predictions)} predictions; give the predictions they were found in, or apply the slices to these"
        )


def _sides(
    predictions: Predictions,
    slices: Slices,
    confirm: Predictions | Bool[np.ndarray, " n"] | None,
    better: bool,
    category: bool,
) -> Sides:
    method = method_of(slices)
    described = judge(method.audited(predictions), better, category)
    here = described.examined(as_weights(slices.weights)[:, described.rows])
    everywhere = np.ones(len(described.rows), dtype=bool)
    if confirm is None:
        return Sides(described, described, here, here, everywhere, "off")
    if isinstance(confirm, Predictions):
        tested = judge(method.audited(confirm), better, category)
        there = tested.examined(memberships_of(slices, confirm)[:, tested.rows])
        return Sides(described, tested, here, there, everywhere, "other")
    held = np.asarray(confirm, dtype=bool)[described.rows]
    if held.all():
        return Sides(described, described, here, here, everywhere, "other")
    if not held.any():
        return Sides(described, described, here, here, everywhere, "too_few")
    tested = described.take(held)
    there = tested.examined(as_weights(here.memberships)[:, held])
    return Sides(described, tested, here, there, ~held, "held_out")


def _finding(region: Region, portrait: Portrait, sides: Sides, noun: str, better: bool) -> Finding:
    """The finding of a region; its number follows when all are in order."""
    judged, said = sides.described, region.description
    labels = tuple(judged.p.classes()[label] for label in region.labels)
    measured = contrasts_of(region, sides.there, sides.tested, sides.honest)
    total = float(judged.counts @ judged.errors)
    mass = judged.counts * region.weights
    found = Finding(
        number=0,
        name=name_of(region, portrait, noun, labels),
        sentence="",
        verdict=region.evidence.verdict,
        p=region.evidence.p,
        p_corrected=region.evidence.p_corrected,
        examples=float(mass.sum()),
        errors_explained=float(mass @ judged.errors) / total if total > 0 else None,
        accuracy=measured.accuracy,
        loss=measured.loss,
        error=measured.error,
        parts=tuple(j + 1 for j in region.parts),
        top_examples=tuple(str(name) for name in judged.p.ids[judged.positions(portrait.top)]),
        conditions=() if said is None else said.conditions,
        holds_for=None if said is None else said.holds_for,
        covers=None if said is None else said.covers,
        labels=labels,
        portrait=portrait,
    )
    measure = "error" if judged.p.task is None else judged.p.task.measure
    return replace(found, sentence=sentence(found, sides.honest, measure, judged.counted, better))


def _ordered(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Most errors explained first, numbered from 1."""
    order = sorted(findings, key=lambda f: (-(f.errors_explained or 0.0), not f.confirmed, f.parts))
    return tuple(replace(finding, number=i + 1) for i, finding in enumerate(order))


def _slices(
    slices: Slices,
    units: Sequence[Unit],
    evidence: Sequence[Evidence],
    portraits: Sequence[Portrait],
    findings: Sequence[Finding],
    method: Method,
    sides: Sides,
    painter: Painter,
    stability: Sequence[float | None] | None,
) -> tuple[Slice, ...]:
    proof: dict[int, Evidence] = {}
    for unit, e in zip(units, evidence, strict=True):
        proof[unit.slice] = stronger(proof[unit.slice], e) if unit.slice in proof else e
    statistics = painter.statistics(sides.here.memberships)
    p_searched = method.p_searched(slices)
    return tuple(
        Slice(
            number=j + 1,
            name=f"{method.noun} {j + 1}",
            finding=next((finding.number for finding in findings if j + 1 in finding.parts), None),
            evidence=proof[j],
            statistics=replace(statistics[j], cluster=slices.statistics[j].cluster),
            portrait=portrait,
            curves=_curves(slices.histories[j]) if slices.histories else {},
            neighbours=neighbours_of(slices.statistics[j].cluster, sides.described),
            stability=None if stability is None else stability[j],
            error=without_interval(error_contrast(sides.here.memberships[j], sides.here, sides.described)),
            p_searched=p_searched[j],
        )
        for j, portrait in enumerate(portraits)
    )


def _curves(history: Mapping[str, np.ndarray]) -> dict[str, tuple[tuple[int, float], ...]]:
    """Every curve of a search in a few hundred steps, the first and the last among them."""
    found = {}
    for name, values in history.items():
        steps = np.flatnonzero(np.isfinite(values)) if np.ndim(values) == 1 else np.empty(0, dtype=int)
        if len(steps) > 1:
            kept = steps[
                np.unique(np.linspace(0, len(steps) - 1, min(len(steps), _POINTS)).round().astype(int))
            ]
            found[str(name)] = tuple((int(step), float(values[step])) for step in kept)
    return found


def _cut_scores(scores: Mapping[int | str, float | None]) -> tuple[tuple[int, float], ...]:
    return tuple(sorted((int(k), float(score)) for k, score in scores.items() if score is not None))


def _confirmation(sides: Sides, searched: int | None, source: str, level: float) -> Confirmation:
    searched = int(sides.searched.sum()) if searched is None else searched
    tested = len(sides.there.losses) if sides.honest else 0
    return Confirmation(
        mode=sides.mode,
        searched=searched,
        tested=tested,
        source=source,
        level=level,
        explanation=explanation(sides.mode, searched, tested, source, level, sides.here.strata is not None),
    )


def _shown(
    findings: Sequence[Finding], slices: Sequence[Slice], clusters: Sequence[Any], memberships: Any
) -> list[int]:
    """Rows of all examples that are shown somewhere; of every member, where memberships are given."""
    portraits = [*(finding.portrait for finding in findings), *(one.portrait for one in slices)]
    rows = {row for portrait in portraits for row in portrait.top}
    rows |= {row for one in slices for neighbour in one.neighbours for row in neighbour.rows}
    rows |= set() if memberships is None else set(memberships.column("row").to_pylist())
    return sorted(rows | {row for cluster in clusters for row in cluster.rows})


def _memberships(
    regions: Sequence[Region],
    findings: Sequence[Finding],
    slices: Slices,
    predictions: Predictions,
    judged: Judged,
) -> Any:
    """Every example of every finding and of every slice, with its weight."""
    number = {finding.parts + finding.labels: finding.number for finding in findings}
    classes = judged.p.classes()
    groups: list[tuple[str, int, np.ndarray, np.ndarray]] = []
    for region in regions:
        key = tuple(j + 1 for j in region.parts) + tuple(classes[label] for label in region.labels)
        mass = region.weights
        inside = np.flatnonzero(mass > 0)
        groups.append(("finding", number[key], judged.rows[inside], mass[inside]))
    groups.sort(key=lambda group: group[1])
    for j, weights in enumerate(slices.weights):
        inside = np.flatnonzero(weights > 0)
        groups.append(("slice", j + 1, inside, np.asarray(weights[inside], dtype=np.float64)))
    rows = np.concatenate([group[2] for group in groups]) if groups else np.empty(0, dtype=np.int64)
    lengths = [len(group[2]) for group in groups]
    return memberships_table(
        {
            "group": np.repeat(np.array([group[0] for group in groups], dtype=object), lengths),
            "number": np.repeat(np.array([group[1] for group in groups], dtype=np.int64), lengths),
            "row": rows,
            "id": np.asarray(predictions.ids)[rows],
            "weight": np.concatenate([group[3] for group in groups]) if groups else np.empty(0),
        }
    )


def _provenance(slices: Slices, predictions: Predictions) -> dict[str, Any]:
    told = {name: value for name, value in slices.provenance.items() if name not in _ELSEWHERE}
    plain: dict[str, Any] = to_jsonable_python(
        {"method": slices.method, **told, "predictions": dict(predictions.manifest)},
        fallback=str,
        inf_nan_mode="null",
    )
    return plain


def _on_embedding(predictions: Predictions) -> tuple[str, ...]:
    """In what embedding slices were sought, where that is not what the model's last layer receives."""
    where = predictions.manifest.get("embedding")
    return () if where is None else (f"Embeddings are those of the {where}.",)


def _where_else(
    predictions: Predictions, method: Method, findings: Sequence[Finding], tested: bool
) -> tuple[str, ...]:
    """Where else to look, where nothing was confirmed in the last layer (docs/benchmark.md: more is found there)."""
    manifest = predictions.manifest
    last_layer = method.in_embeddings and "checkpoint" in manifest and "embedding" not in manifest
    found = any(finding.confirmed for finding in findings)
    return (_LOOK_ELSEWHERE,) if last_layer and tested and not found else ()


def _word(value: Any) -> str:
    """The name in a manifest entry, which is a word or a mapping that holds one."""
    if isinstance(value, Mapping):
        value = value.get("name")
    return "" if value is None else str(value)
