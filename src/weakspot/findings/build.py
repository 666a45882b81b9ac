"""Builds findings: tests, extends, merges, names and describes slices, each step once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool

from weakspot.findings.audited_examples import group_name, group_values
from weakspot.findings.audited_set import summarise_audited_set
from weakspot.findings.clusters import list_clusters
from weakspot.findings.described_slices import describe_slices
from weakspot.findings.entries import Slice
from weakspot.findings.evidence import evidence_of_parts, evidence_of_region
from weakspot.findings.example_sets import choose_example_sets, describe_confirmation
from weakspot.findings.examples import describe_examples
from weakspot.findings.finding import Finding
from weakspot.findings.findings_of_regions import build_memberships_table, findings_from_regions
from weakspot.findings.group_descriptions import SHOWN, GroupDescriber
from weakspot.findings.map import MapKind, build_map
from weakspot.findings.provenance import cautionary_notes, manifest_name, provenance_record
from weakspot.findings.record import SCHEMA, Findings
from weakspot.findings.regions import find_regions
from weakspot.findings.sentences import headline
from weakspot.findings.slice_parts import is_worse, split_by_label
from weakspot.methods import method_of
from weakspot.predictions import Predictions
from weakspot.predictions.attributes import check_attributes
from weakspot.slices import Memberships, Slices


def build(
    predictions: Predictions,
    slices: Slices,
    *,
    confirm: Predictions | Bool[np.ndarray, " n"] | None,
    searched: int | None,
    source: str,
    hide: Sequence[str],
    texts: Sequence[str] | None,
    stability: Sequence[float | None] | None,
    notes: Sequence[str],
    command: str,
    created: datetime,
    level: float,
    seed: int,
    members: int | Literal["all"],
    projection: MapKind,
) -> Findings:
    """Build findings, step by step; arguments and errors are those of `Findings.build`, which has the defaults."""
    _check(predictions, slices, hide, texts, stability)
    method = method_of(slices)
    if not method.testable:
        confirm, source = None, f"Nothing was tested, because {method.why_untestable()}"
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
    portraits = describer.describe(Memberships.of_rows(groups, len(sets.described.rows)))
    of_regions, of_slices = portraits[: len(regions)], portraits[len(regions) :]
    findings = findings_from_regions(
        regions, of_regions, sets, source, method.noun, method.slice_names(slices), better
    )
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
        created=created.isoformat(timespec="seconds"),
        whole=summarise_audited_set(sets.described, predictions, category, describer),
        confirmation=confirmation,
        findings=findings,
        slices=all_slices,
        examples=describe_examples(rows, predictions, sets.described),
        clusters=clusters,
        cut_scores=_cut_scores(slices.provenance.get("cut_scores") or {}),
        near_misses=tuple(method.near_misses(slices)),
        reads_attributes=method.reads_attributes,
        notes=(*cautionary_notes(predictions, slices, method, findings, sets), *notes),
        provenance=provenance_record(slices, predictions),
        memberships=memberships,
        map=build_map(sets.described, describer.columns, projection, seed, slices.tree),
    )


def _check(
    predictions: Predictions,
    slices: Slices,
    hide: Sequence[str],
    texts: Sequence[str] | None,
    stability: Sequence[float | None] | None,
) -> None:
    if not isinstance(predictions, Predictions):
        raise TypeError(
            f"predictions are of type {type(predictions).__name__}; make some with Predictions.from_arrays(embeddings, "
            "losses), and give those that the slices were found in"
        )
    if not isinstance(slices, Slices):
        raise TypeError(
            f"slices are of type {type(slices).__name__}; give those of a fitted method: "
            "Findings.build(predictions, method.slices_)"
        )
    if isinstance(hide, str):
        raise TypeError(f"hide={hide!r} is a string; give a list of attribute names: hide=[{hide!r}]")
    check_attributes(f"hide={list(hide)}", hide, predictions.attributes.column_names)
    if not np.array_equal(np.asarray(slices.ids), predictions.ids):
        raise ValueError(
            f"the slices cover {len(slices.ids)} examples, and their ids are not those of the "
            f"{len(predictions)} predictions; give the predictions they were found in, or apply the slices to these"
        )
    for name, values, of, n in (
        ("texts", texts, "examples", len(predictions)),
        ("stability", stability, "slices", len(slices)),
    ):
        if values is not None and len(values) != n:
            raise ValueError(f"{name} has {len(values)} values, but there are {n} {of}; give one for each")


def _cut_scores(scores: Mapping[int | str, float | None]) -> tuple[tuple[int, float], ...]:
    """Return the scores of all numbers of clusters that have one, in ascending order."""
    return tuple(sorted((int(k), float(score)) for k, score in scores.items() if score is not None))


def _shown_rows(
    findings: Sequence[Finding], slices: Sequence[Slice], clusters: Sequence[Any], memberships: Any
) -> list[int]:
    """Return the rows of all examples that are shown somewhere, and of every member if memberships are given."""
    portraits = [*(finding.portrait for finding in findings), *(one.portrait for one in slices)]
    rows = {row for portrait in portraits for row in portrait.top}
    rows |= {row for one in slices for neighbour in one.neighbours for row in neighbour.rows}
    rows |= set() if memberships is None else set(memberships.column("row").to_pylist())
    return sorted(rows | {row for cluster in clusters for row in cluster.rows})
