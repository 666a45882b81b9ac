"""Builds findings: tests slices, extends, merges, names and describes them, all of it once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool

from weakspot.evaluation.confirmation import LEVEL
from weakspot.findings.audited_examples import group_name, group_values
from weakspot.findings.audited_set import summarise_audited_set
from weakspot.findings.clusters import list_clusters
from weakspot.findings.described_slices import describe_slices
from weakspot.findings.evidence import evidence_of_parts, evidence_of_region
from weakspot.findings.example_sets import choose_example_sets, describe_confirmation
from weakspot.findings.examples import describe_examples
from weakspot.findings.findings_of_regions import build_memberships_table, findings_from_regions
from weakspot.findings.group_descriptions import SHOWN, GroupDescriber
from weakspot.findings.map import MapKind, build_map
from weakspot.findings.provenance import cautionary_notes, manifest_name, provenance_record
from weakspot.findings.record import SCHEMA, Finding, Findings, Slice
from weakspot.findings.regions import find_regions
from weakspot.findings.sentences import headline
from weakspot.findings.slice_parts import is_worse, split_by_label
from weakspot.methods import method_of
from weakspot.predictions import Predictions
from weakspot.slices import Memberships, Slices


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
    """Test slices, extend, merge and name them, and describe everything that is found.

    Slices are tested on examples that they were not found in, within labels; and group by group, where the search
    kept a group on one side or the predictions name one. What is confirmed is extended as far as errors stay more
    common than beyond, and what lies in one place is merged into one finding.

    Args:
        predictions: The n examples that the slices are described over.
        slices: What a method found, with a weight for each of these examples.
        confirm: What to test on: a mask (n,) of the rows of `predictions` that no slice was sought in (all False means
            that too few examples could be set aside, all True that the slices were found elsewhere), or other
            predictions of the same model. None tests nothing.
        searched: How many examples the slices were sought in, where these are not among `predictions`.
        source: What is tested on, in words, for whoever reads the findings; or why nothing is tested.
        hide: The restating attributes (`dataset.hide`), which explain nothing. Those that are the target under another
            name are left out anyway.
        texts: What is written in each example, for its words.
        stability: The stability of every slice, if it was measured.
        notes: Words of caution, in addition to the method's own.
        command: The command line that made the slices.
        created: When the findings were made; now by default.
        level: The false discovery rate of what is confirmed.
        seed: Of samples, permutations and halvings.
        members: How many top examples of each finding and slice are kept; "all" describes every other member, too.
        projection: How the map of the examples is made; "none" makes no map.

    Returns:
        The findings.

    Raises:
        ImportError: If the map needs a library that is missing.
        ValueError: If the slices were found in other predictions, or nothing tells a good example from a bad one.
    """
    _check_same_examples(predictions, slices)
    method = method_of(slices)
    better = method.seeks == "better"
    category = (slices.provenance.get("settings") or {}).get("category")
    sets = choose_example_sets(predictions, slices, confirm, better, category is not None)
    described = sets.described_outcomes
    tested = replace(sets.tested_outcomes, groups=group_values(sets.tested.record, slices))
    parts = split_by_label(described, tested, sets.searched, sets.described.by_label)
    evidence = evidence_of_parts(parts, tested, sets.mode, better, level, seed)
    describer = GroupDescriber(sets.described, hide, texts, better, SHOWN if members == "all" else members)
    regions = find_regions(
        [(part, e) for part, e in zip(parts, evidence, strict=True) if is_worse(part)],
        described,
        tested,
        (sets.described.record.ids, sets.tested.record.ids),
        sets.searched,
        describer.name_region,
        partial(evidence_of_region, better=better, level=level, seed=seed),
        seed,
    )
    groups = chain((region.described_weights for region in regions), described.memberships)
    descriptions = describer.describe(Memberships.of_rows(groups, len(sets.described.rows)))
    of_regions, of_slices = descriptions[: len(regions)], descriptions[len(regions) :]
    findings = findings_from_regions(regions, of_regions, sets, method.noun, better)
    all_slices = describe_slices(
        slices, parts, evidence, of_slices, findings, method, sets, describer, stability
    )
    clusters = () if slices.tree is None else list_clusters(slices.tree, slices.statistics)
    memberships = build_memberships_table(regions, findings, slices, predictions, sets.described)
    rows = _shown_rows(findings, all_slices, clusters, memberships if members == "all" else None)
    confirmation = describe_confirmation(
        sets, searched, source, level, group_name(sets.tested.record, slices) or ""
    )
    manifest = predictions.manifest
    dataset, model = manifest_name(manifest.get("dataset")), manifest_name(manifest.get("model"))
    return Findings(
        schema=SCHEMA,
        title=headline(findings, confirmation, dataset, model, len(predictions), better),
        method=slices.method,
        seeks=method.seeks,
        dataset=dataset,
        model=model,
        split=manifest_name(manifest.get("split")),
        command=command,
        created=(created or datetime.now().astimezone()).isoformat(timespec="seconds"),
        whole=summarise_audited_set(sets.described, predictions, category, describer),
        confirmation=confirmation,
        findings=findings,
        slices=all_slices,
        examples=describe_examples(rows, predictions, sets.described),
        clusters=clusters,
        cut_scores=_cut_scores(slices.provenance.get("cut_scores") or {}),
        near_misses=tuple(method.near_misses(slices)),
        reads_attributes=method.reads_attributes,
        notes=(*cautionary_notes(predictions, slices, method, findings, sets.has_test), *notes),
        provenance=provenance_record(slices, predictions),
        memberships=memberships,
        map=build_map(sets.described, describer.columns, projection, seed, slices.tree),
    )


def _check_same_examples(predictions: Predictions, slices: Slices) -> None:
    if not np.array_equal(np.asarray(slices.ids), predictions.ids):
        raise ValueError(
            f"the slices speak of {len(slices.ids)} examples, and their ids are not those of the "
            f"{len(predictions)} predictions; give the predictions they were found in, or apply the slices to these"
        )


def _cut_scores(scores: Mapping[int | str, float | None]) -> tuple[tuple[int, float], ...]:
    """Return the scores of all numbers of clusters that have one, in ascending order."""
    return tuple(sorted((int(k), float(score)) for k, score in scores.items() if score is not None))


def _shown_rows(
    findings: Sequence[Finding], slices: Sequence[Slice], clusters: Sequence[Any], memberships: Any
) -> list[int]:
    """Return the rows of all examples that are shown somewhere; of every member, where memberships are given."""
    descriptions = [*(finding.portrait for finding in findings), *(one.portrait for one in slices)]
    rows = {row for description in descriptions for row in description.top}
    rows |= {row for one in slices for neighbour in one.neighbours for row in neighbour.rows}
    rows |= set() if memberships is None else set(memberships.column("row").to_pylist())
    return sorted(rows | {row for cluster in clusters for row in cluster.rows})
