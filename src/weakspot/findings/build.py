"""Everything there is to say about slices, computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool

from weakspot.findings.clusters import clusters_of
from weakspot.findings.described_slices import described_slices
from weakspot.findings.examples import examples_of
from weakspot.findings.findings_of_regions import findings_of, members_of
from weakspot.findings.map import MapKind, map_of
from weakspot.findings.origin import notes_of, provenance_of, word_of
from weakspot.findings.portraits import SHOWN, Painter
from weakspot.findings.record import SCHEMA, Finding, Findings, Slice
from weakspot.findings.regions import find_regions
from weakspot.findings.sentences import title
from weakspot.findings.sides import confirmation_of, sides_of
from weakspot.findings.testing import evidence_of, evidence_of_region
from weakspot.findings.units import is_worse, units_of
from weakspot.findings.whole import describe_whole
from weakspot.methods import method_of
from weakspot.predictions import Predictions
from weakspot.slices import Memberships, Slices

LEVEL = 0.05


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
    sides = sides_of(predictions, slices, confirm, better, category is not None)
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
    findings = findings_of(regions, portraits[: len(regions)], sides, method.noun, better)
    made = described_slices(
        slices, units, evidence, portraits[len(regions) :], findings, method, sides, painter, stability
    )
    clusters = () if slices.tree is None else clusters_of(slices.tree, slices.statistics)
    memberships = members_of(regions, findings, slices, predictions, sides.described)
    rows = _shown(findings, made, clusters, memberships if members == "all" else None)
    confirmation = confirmation_of(sides, searched, source, level)
    manifest = predictions.manifest
    dataset, model = word_of(manifest.get("dataset")), word_of(manifest.get("model"))
    return Findings(
        schema=SCHEMA,
        title=title(findings, confirmation, dataset, model, len(predictions), better),
        method=slices.method,
        seeks=method.seeks,
        dataset=dataset,
        model=model,
        split=word_of(manifest.get("split")),
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
        notes=(*notes_of(predictions, slices, method, findings, sides.honest), *notes),
        provenance=provenance_of(slices, predictions),
        memberships=memberships,
        map=map_of(sides.described, painter.columns, projection, seed, slices.tree),
    )


def _check(predictions: Predictions, slices: Slices) -> None:
    if not np.array_equal(np.asarray(slices.ids), predictions.ids):
        raise ValueError(
            f"the slices speak of {len(slices.ids)} examples, and their ids are not those of the "
            f"{len(predictions)} predictions; give the predictions they were found in, or apply the slices to these"
        )


def _cut_scores(scores: Mapping[int | str, float | None]) -> tuple[tuple[int, float], ...]:
    return tuple(sorted((int(k), float(score)) for k, score in scores.items() if score is not None))


def _shown(
    findings: Sequence[Finding], slices: Sequence[Slice], clusters: Sequence[Any], memberships: Any
) -> list[int]:
    """Rows of all examples that are shown somewhere; of every member, where memberships are given."""
    portraits = [*(finding.portrait for finding in findings), *(one.portrait for one in slices)]
    rows = {row for portrait in portraits for row in portrait.top}
    rows |= {row for one in slices for neighbour in one.neighbours for row in neighbour.rows}
    rows |= set() if memberships is None else set(memberships.column("row").to_pylist())
    return sorted(rows | {row for cluster in clusters for row in cluster.rows})
