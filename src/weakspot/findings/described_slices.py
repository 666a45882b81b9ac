"""The slices of the method as they were found, each with all that is said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from weakspot.evaluation.confirmation import Evidence
from weakspot.findings.clusters import neighbours_of
from weakspot.findings.contrasts import error_contrast
from weakspot.findings.portraits import Painter
from weakspot.findings.record import Finding, Portrait, Slice
from weakspot.findings.regions import stronger
from weakspot.findings.sides import Sides
from weakspot.findings.testing import without_interval
from weakspot.findings.units import Unit
from weakspot.methods import Method
from weakspot.slices import Slices

_POINTS = 300  # of a curve: more cannot be told apart


def described_slices(
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
