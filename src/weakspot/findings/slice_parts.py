"""What is tested: slices, or the parts of them that have one label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from weakspot.findings.example_outcomes import ExampleOutcomes, fails_more

_LABEL_SHARE = 0.25  # of a slice's weight that a label must have to be tested by itself
_LABELS_TOGETHER = 0.75  # of its weight that such labels must have together; otherwise it is not split


@dataclass(frozen=True, eq=False)
class SlicePart:
    """A slice, or the part of it that has one label: what is tested.

    A slice of two labels is often two mistakes side by side: a model that takes red for low is wrong about red fives
    and, next to them, about green twos. Each is tested, extended and named by itself.

    Attributes:
        slice: The position of the slice.
        labels: Codes of the labels that this part has; none if it is all of the slice.
        described: The r described examples.
        tested: The m tested examples.
    """

    slice: int
    labels: tuple[int, ...]
    described: ExampleOutcomes
    tested: ExampleOutcomes

    @property
    def described_weights(self) -> Float[np.ndarray, " r"]:
        """Memberships of the described examples."""
        return self.described.part_weights(self.slice, self.labels)

    @property
    def tested_weights(self) -> Float[np.ndarray, " m"]:
        """Memberships of the tested examples."""
        return self.tested.part_weights(self.slice, self.labels)


def split_by_label(
    described: ExampleOutcomes, tested: ExampleOutcomes, searched: Bool[np.ndarray, " r"], by_label: bool
) -> list[SlicePart]:
    """Split slices by label if a few labels make up nearly all of one.

    Args:
        described: The r examples that the slices are described over.
        tested: The examples that they are tested on.
        searched: (r,) the described examples that were searched for slices; they decide how a slice is split.
        by_label: Whether labels are classes that a slice can be split by.

    Returns:
        One or more parts per slice, in the slices' order.
    """
    parts = []
    for j, weights in enumerate(described.memberships):
        labels = leading_labels(described, weights * searched) if by_label else ()
        parts += [SlicePart(j, (label,), described, tested) for label in labels] or [
            SlicePart(j, (), described, tested)
        ]
    return parts


def leading_labels(outcomes: ExampleOutcomes, weights: Float[np.ndarray, " r"]) -> tuple[int, ...]:
    """Return the labels that a slice is split by: a few that make up nearly all of it.

    Args:
        outcomes: The examples.
        weights: (r,) memberships in the slice.

    Returns:
        Codes of the labels; none if the slice is not split.
    """
    if outcomes.strata is None:
        return ()
    mass = np.bincount(outcomes.strata, weights=weights * outcomes.counts)
    if mass.sum() <= 0:
        return ()
    shares = mass / mass.sum()
    leading = np.flatnonzero(shares >= _LABEL_SHARE)
    return tuple(leading.tolist()) if shares[leading].sum() >= _LABELS_TOGETHER else ()


def is_worse(part: SlicePart) -> bool:
    """Return whether errors are more common inside a part than outside, on tested examples if any of them lie in it."""
    for outcomes, weights in ((part.tested, part.tested_weights), (part.described, part.described_weights)):
        worse = fails_more(outcomes, weights)
        if worse is not None:
            return worse
    return False
