"""The evidence of every unit: tested where there are examples that no slice was sought in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from weakspot.evaluation.confirmation import Evidence, Verdict, confirm
from weakspot.evaluation.contrasts import Contrast, accuracy_contrast, effective_size, loss_contrast
from weakspot.findings.regions import Region
from weakspot.findings.units import Examined, Unit
from weakspot.slices import Memberships, Weights

Mode = Literal["held_out", "other", "off", "too_few"]


def evidence_of(
    units: Sequence[Unit], there: Examined, mode: Mode, better: bool, level: float, seed: int
) -> list[Evidence]:
    """The evidence of every unit, corrected for how many there are.

    Args:
        units: What is to be tested.
        there: The examples to test on.
        mode: "held_out" and "other" test; "off" and "too_few" only describe, on the examples searched.
        better: Whether the best-served examples are sought.
        level: False discovery rate.
        seed: Of permutations.

    Returns:
        One per unit.
    """
    if not units:
        return []
    if mode in ("off", "too_few"):
        verdict: Verdict = "not_confirmed" if mode == "off" else "too_few"
        return [_described(unit, there, verdict) for unit in units]
    groups = Memberships.of_rows((unit.tested for unit in units), len(there.losses))
    return _confirm(groups, there, better, level, seed)


def evidence_of_region(region: Region, there: Examined, better: bool, level: float, seed: int) -> Evidence:
    """The evidence of one region by itself, on some of the tested examples."""
    (found,) = _confirm(region.tested[None], there, better, level, seed)
    return found


def _confirm(groups: Weights, there: Examined, better: bool, level: float, seed: int) -> list[Evidence]:
    """The evidence of every group of the tested examples."""
    return confirm(
        groups,
        there.losses,
        there.correct,
        there.strata,
        there.counts,
        direction="better" if better else "worse",
        level=level,
        seed=seed,
    )


def _described(unit: Unit, here: Examined, verdict: Verdict) -> Evidence:
    """Numbers of the very examples that a slice was found in: they prove nothing and have no interval."""
    inside, outside = here.counts * unit.described, here.counts * (1 - unit.described)
    accuracy = loss = None
    if inside.sum() > 0:
        loss = without_interval(loss_contrast(here.losses, inside, outside, here.strata))
        if here.correct is not None:
            accuracy = without_interval(accuracy_contrast(here.correct, inside, outside, here.strata))
    return Evidence(
        verdict=verdict,
        p=None,
        p_corrected=None,
        p_unstratified=None,
        p_unstratified_corrected=None,
        members=int((inside > 0).sum()),
        n_effective=effective_size(inside),
        accuracy=accuracy,
        loss=loss,
        lift=None,
    )


def without_interval(contrast: Contrast | None) -> Contrast | None:
    """The same means, of examples that an interval would not be honest for."""
    return None if contrast is None else Contrast(contrast.inside, contrast.outside, None, contrast.expected)
