"""Findings made of regions, and the examples that lie in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from weakspot.findings.contrasts import contrasts_of
from weakspot.findings.examined import Judged
from weakspot.findings.record import Finding, Portrait, memberships_table
from weakspot.findings.regions import Region
from weakspot.findings.sentences import name_of, sentence
from weakspot.findings.sides import Sides
from weakspot.predictions import Predictions
from weakspot.slices import Slices


def findings_of(
    regions: Sequence[Region], portraits: Sequence[Portrait], sides: Sides, noun: str, better: bool
) -> tuple[Finding, ...]:
    """The finding of every region, most errors explained first, numbered from 1.

    Args:
        regions: Where the model fails.
        portraits: What each looks like.
        sides: The examples that they are described over and tested on.
        noun: What the method calls a slice.
        better: Whether the best-served examples are sought.

    Returns:
        The findings.
    """
    return _ordered(
        [
            _finding(region, portrait, sides, noun, better)
            for region, portrait in zip(regions, portraits, strict=True)
        ]
    )


def members_of(
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
