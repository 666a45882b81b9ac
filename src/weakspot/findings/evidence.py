"""The evidence for every part of a slice, tested if there are examples that were not searched for slices."""

from __future__ import annotations

from collections.abc import Sequence

from weakspot.evaluation.confirmation import Evidence, confirm
from weakspot.evaluation.contrasts import Contrast, accuracy_contrast, effective_size, loss_contrast
from weakspot.findings.entries import Mode
from weakspot.findings.example_outcomes import ExampleOutcomes
from weakspot.findings.regions import Region
from weakspot.findings.slice_parts import SlicePart
from weakspot.slices import Memberships, Weights


def evidence_of_parts(
    parts: Sequence[SlicePart], tested: ExampleOutcomes, mode: Mode, better: bool, level: float, seed: int
) -> list[Evidence]:
    """Test every part, corrected for the number of parts.

    Args:
        parts: The parts to test.
        tested: The examples to test on.
        mode: "held_out" and "other" test; "off" and "too_few" only describe, on the examples searched.
        better: Whether the best-served examples are searched for.
        level: The false discovery rate.
        seed: The seed of permutations.

    Returns:
        The evidence of each part.
    """
    if not parts:
        return []
    if mode in ("off", "too_few"):
        return [_untested(part, tested) for part in parts]
    groups = Memberships.of_rows((part.tested_weights for part in parts), len(tested.losses))
    return confirm_groups(groups, tested, better, level, seed)


def evidence_of_region(
    region: Region, tested: ExampleOutcomes, better: bool, level: float, seed: int
) -> Evidence:
    """Test one region by itself on some of the tested examples."""
    (evidence,) = confirm_groups(region.tested_weights[None], tested, better, level, seed)
    return evidence


def confirm_groups(
    groups: Weights, tested: ExampleOutcomes, better: bool, level: float, seed: int
) -> list[Evidence]:
    """Test every group of the tested examples.

    Args:
        groups: (g, m) how much each of the m examples belongs to each group.
        tested: The examples.
        better: Whether the best-served examples are searched for.
        level: The false discovery rate.
        seed: The seed of permutations.
    """
    return confirm(
        groups,
        tested.losses,
        tested.correct,
        tested.strata,
        tested.counts,
        seeks="better" if better else "worse",
        level=level,
        seed=seed,
        groups=tested.groups,
    )


def _untested(part: SlicePart, described: ExampleOutcomes) -> Evidence:
    """Return the numbers on the examples that a slice was found in: they prove nothing and have no interval."""
    weights = part.described_weights
    inside, outside = described.counts * weights, described.counts * (1 - weights)
    accuracy = loss = None
    if inside.sum() > 0:
        loss = without_interval(loss_contrast(described.losses, inside, outside, described.strata))
        if described.correct is not None:
            accuracy = without_interval(
                accuracy_contrast(described.correct, inside, outside, described.strata)
            )
    return Evidence(
        verdict="not_tested",
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
    """Return the same means without an interval, which would be too narrow for examples that were searched."""
    return None if contrast is None else Contrast(contrast.inside, contrast.outside, None, contrast.expected)
