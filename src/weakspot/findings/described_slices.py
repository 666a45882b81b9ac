"""Describes the slices of a method as they were found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from weakspot.evaluation.confirmation import Evidence
from weakspot.findings.clusters import well_served_neighbours
from weakspot.findings.entries import Portrait, Slice
from weakspot.findings.evidence import without_interval
from weakspot.findings.example_sets import ExampleSets
from weakspot.findings.finding import Finding
from weakspot.findings.group_descriptions import GroupDescriber
from weakspot.findings.region_contrasts import error_contrast
from weakspot.findings.regions import stronger
from weakspot.findings.slice_parts import SlicePart
from weakspot.methods import Method
from weakspot.slices import Slices

_POINTS = 300  # of a curve; more are not visible


def describe_slices(
    slices: Slices,
    parts: Sequence[SlicePart],
    evidence: Sequence[Evidence],
    portraits: Sequence[Portrait],
    findings: Sequence[Finding],
    method: Method,
    sets: ExampleSets,
    describer: GroupDescriber,
    stability: Sequence[float | None] | None,
) -> tuple[Slice, ...]:
    """Describe every slice.

    Args:
        slices: What the method found.
        parts: The parts of slices that were tested.
        evidence: The evidence of each part.
        portraits: What the examples of each slice look like.
        findings: The findings that slices are part of.
        method: The method.
        sets: The examples that the slices are described over and tested on.
        describer: Computes the statistics of groups.
        stability: The stability of each slice, if it was measured.

    Returns:
        One record per slice, in the method's order.
    """
    strongest: dict[int, Evidence] = {}
    for part, e in zip(parts, evidence, strict=True):
        strongest[part.slice] = stronger(strongest[part.slice], e) if part.slice in strongest else e
    memberships = sets.described_outcomes.memberships
    statistics = describer.statistics(memberships)
    p_searched = method.p_searched(slices)
    return tuple(
        Slice(
            number=j + 1,
            name=f"{method.noun} {j + 1}",
            finding=next((finding.number for finding in findings if j + 1 in finding.parts), None),
            evidence=strongest[j],
            statistics=replace(statistics[j], cluster=slices.statistics[j].cluster),
            portrait=portrait,
            curves=_curves(slices.histories[j]) if slices.histories else {},
            neighbours=well_served_neighbours(slices.statistics[j].cluster, sets.described),
            stability=None if stability is None else stability[j],
            error=without_interval(error_contrast(memberships[j], sets.described_outcomes, sets.described)),
            p_searched=p_searched[j],
        )
        for j, portrait in enumerate(portraits)
    )


def _curves(history: Mapping[str, np.ndarray]) -> dict[str, tuple[tuple[int, float], ...]]:
    """Thin every curve of a search to a few hundred steps, including the first and the last."""
    curves = {}
    for name, values in history.items():
        steps = np.flatnonzero(np.isfinite(values)) if np.ndim(values) == 1 else np.empty(0, dtype=int)
        if len(steps) > 1:
            kept = steps[
                np.unique(np.linspace(0, len(steps) - 1, min(len(steps), _POINTS)).round().astype(int))
            ]
            curves[str(name)] = tuple((int(step), float(values[step])) for step in kept)
    return curves
