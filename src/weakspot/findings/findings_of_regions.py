"""Makes findings from regions, and the table of the examples in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from weakspot.findings.audited_examples import AuditedExamples
from weakspot.findings.class_errors import class_errors
from weakspot.findings.entries import Portrait
from weakspot.findings.example_sets import ExampleSets
from weakspot.findings.finding import Finding
from weakspot.findings.memberships import MembershipGroup, core_members, groups_of_slices, memberships_table
from weakspot.findings.region_contrasts import contrasts_of_region
from weakspot.findings.regions import Region
from weakspot.findings.sentences import finding_name, finding_sentence
from weakspot.predictions import Predictions
from weakspot.slices import Slices


def findings_from_regions(
    regions: Sequence[Region],
    portraits: Sequence[Portrait],
    sets: ExampleSets,
    source: str,
    noun: str,
    slice_names: Sequence[str],
    better: bool,
) -> tuple[Finding, ...]:
    """Make the finding of every region, most errors explained first, numbered from 1.

    Args:
        regions: Where the model fails.
        portraits: What the examples of each region look like.
        sets: The examples that they are described over and tested on.
        source: The tested examples, in words.
        noun: What the method calls a slice.
        slice_names: How the method itself describes each slice; none if it does not.
        better: Whether the best-served examples are searched for.

    Returns:
        The findings.
    """
    pairs = zip(regions, portraits, strict=True)
    return _numbered(
        [_finding(region, portrait, sets, source, noun, slice_names, better) for region, portrait in pairs]
    )


def build_memberships_table(
    regions: Sequence[Region],
    findings: Sequence[Finding],
    slices: Slices,
    predictions: Predictions,
    audited: AuditedExamples,
) -> Any:
    """Return the table of every example of every finding and of every slice, with its weight."""
    numbers = {finding.parts + finding.labels: finding.number for finding in findings}
    classes = audited.record.classes()
    groups: list[MembershipGroup] = []
    for region in regions:
        key = tuple(j + 1 for j in region.parts) + tuple(classes[label] for label in region.labels)
        weights = region.described_weights
        inside = np.flatnonzero(weights > 0)
        groups.append(("finding", numbers[key], audited.rows[inside], weights[inside]))
    groups.sort(key=lambda group: group[1])
    return memberships_table([*groups, *groups_of_slices(slices)], predictions.ids, slices.searched_mask)


def _finding(
    region: Region,
    portrait: Portrait,
    sets: ExampleSets,
    source: str,
    noun: str,
    slice_names: Sequence[str],
    better: bool,
) -> Finding:
    """Make the finding of a region; it gets its number once all findings are sorted."""
    audited = sets.described
    record = audited.record
    labels = tuple(record.classes()[label] for label in region.labels)
    exact_name = _exact_name(region, slice_names, sets, labels)
    conjunction = region.conjunction if exact_name is None else None
    contrasts = contrasts_of_region(region, sets.tested_outcomes, sets.tested, sets.has_test)
    all_errors = float(audited.counts @ audited.errors)
    mass = audited.counts * region.described_weights
    tested_mass = sets.tested_outcomes.counts * region.tested_weights
    finding = Finding(
        number=0,
        name=exact_name or finding_name(region, portrait, noun, labels),
        sentence="",
        verdict=region.evidence.verdict,
        p=region.evidence.p,
        p_corrected=region.evidence.p_corrected,
        examples=float(mass.sum()),
        errors_explained=float(mass @ audited.errors) / all_errors if all_errors > 0 else None,
        accuracy=contrasts.accuracy,
        loss=contrasts.loss,
        error=contrasts.error,
        confidence=contrasts.confidence,
        bias=contrasts.bias,
        class_errors=class_errors(region.tested_weights, sets.tested, record.classes())
        if sets.has_test and not better
        else (),
        parts=tuple(j + 1 for j in region.parts),
        top_examples=tuple(str(name) for name in record.ids[audited.positions(portrait.top)]),
        conditions=() if conjunction is None else conjunction.conditions,
        holds_for=None if conjunction is None else conjunction.holds_for,
        covers=None if conjunction is None else conjunction.covers,
        labels=labels,
        portrait=portrait,
        held_out=float(tested_mass.sum()) if sets.has_test else None,
    )
    measure = "error" if record.task is None else record.task.measure
    others = (source or "other examples") if sets.tests_others else ""
    sentence = finding_sentence(finding, sets.has_test, measure, audited.counted, better, others)
    return replace(finding, sentence=sentence)


def _exact_name(
    region: Region, slice_names: Sequence[str], sets: ExampleSets, labels: Sequence[str]
) -> str | None:
    """Return the method's description of a slice that is the whole region, unless attributes name it as exactly."""
    if region.conjunction is not None and region.conjunction.f1 == 1:
        return None
    core, outcomes = core_members(region.described_weights), sets.described_outcomes
    for part in region.parts if slice_names else ():
        if np.array_equal(core_members(outcomes.part_weights(part, region.labels)), core):
            return " and ".join([*(f"label = {label}" for label in labels), slice_names[part]])
    return None


def _numbered(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return findings in order, most errors explained first, numbered from 1."""
    order = sorted(findings, key=lambda f: (-(f.errors_explained or 0.0), not f.confirmed, f.parts))
    return tuple(replace(finding, number=i + 1) for i, finding in enumerate(order))
