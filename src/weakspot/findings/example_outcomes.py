"""What a test of slices needs to know about each example: where it lies, what it belongs to, and how the model did."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from weakspot.predictions.mapped_copies import take_rows
from weakspot.slices import Weights


@dataclass(frozen=True, eq=False)
class ExampleOutcomes:
    """Holds r examples of one population with their memberships in k slices and the outcomes that slices are tested by.

    Attributes:
        embeddings: (r, d).
        memberships: (k, r) of every slice.
        losses: (r,) the losses, whose ranks slices are tested by.
        severity: (r,) in [0, 1]: 1 if the model is wrong; ranks for tasks without right and wrong.
        errors: (r,) the contribution of each example to the total error, in the measure that is reported.
        correct: (r,) or None.
        strata: (r,) codes of the labels, within which slices are tested; None if there are none.
        counts: (r,) how many times each example counts.
        groups: (r,) values, equal for examples that belong together (a patient's); None if all are independent.
    """

    embeddings: Float[np.ndarray, "r d"]
    memberships: Weights
    losses: Float[np.ndarray, " r"]
    severity: Float[np.ndarray, " r"]
    errors: Float[np.ndarray, " r"]
    correct: Bool[np.ndarray, " r"] | None
    strata: Int[np.ndarray, " r"] | None
    counts: Float[np.ndarray, " r"]
    groups: Shaped[np.ndarray, " r"] | None = None

    def with_labels(self, labels: tuple[int, ...]) -> Bool[np.ndarray, " r"]:
        """Return which examples have one of these labels; all, if no labels are given."""
        if not labels or self.strata is None:
            return np.ones(len(self.losses), dtype=bool)
        has_label: np.ndarray = np.isin(self.strata, labels)
        return has_label

    def part_weights(self, j: int, labels: tuple[int, ...]) -> Float[np.ndarray, " r"]:
        """Return memberships in the part of slice j that has one of these labels; in all of it, if none are given."""
        weights: np.ndarray = self.memberships[j]
        return weights * self.with_labels(labels) if labels else weights

    def take(self, rows: Bool[np.ndarray, " r"]) -> ExampleOutcomes:
        """Return only the chosen examples."""
        return ExampleOutcomes(
            take_rows(self.embeddings, rows),
            self.memberships[:, rows],
            self.losses[rows],
            self.severity[rows],
            self.errors[rows],
            None if self.correct is None else self.correct[rows],
            None if self.strata is None else self.strata[rows],
            self.counts[rows],
            None if self.groups is None else self.groups[rows],
        )


def fails_more(outcomes: ExampleOutcomes, weights: Float[np.ndarray, " r"]) -> bool | None:
    """Return whether errors are more common (or larger) inside a group than outside.

    Args:
        outcomes: The examples.
        weights: (r,) memberships in the group.

    Returns:
        The answer, or None if nothing lies inside or nothing lies outside.
    """
    inside, outside = outcomes.counts * weights, outcomes.counts * (1 - weights)
    if inside.sum() <= 0 or outside.sum() <= 0:
        return None
    within, without = (float(mass @ outcomes.errors / mass.sum()) for mass in (inside, outside))
    return within > without * (1 + 1e-12)
