"""What is tested: slices, or the parts of them that have one label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from weakspot.predictions.mapped_copies import take_rows
from weakspot.slices import Weights

_LABEL_SHARE = 0.25  # of a slice's weight that a label must have to be looked at by itself
_LABELS_TOGETHER = 0.75  # that such labels must have together; else the slice is about no label


@dataclass(frozen=True, eq=False)
class Examined:
    """Examples as the evidence needs them, all of one population.

    Attributes:
        embeddings: (r, d).
        memberships: (k, r) of every slice.
        losses: (r,) by whose ranks slices are tested.
        badness: (r,) in [0, 1]: 1 where the model is wrong; ranks where there is no right and wrong.
        errors: (r,) what each example adds to all errors, in the measure that is stated.
        correct: (r,) or None.
        strata: (r,) codes of the labels, within which slices are tested; None where there are none.
        counts: (r,) how many times each example stands for itself.
    """

    embeddings: Float[np.ndarray, "r d"]
    memberships: Weights
    losses: Float[np.ndarray, " r"]
    badness: Float[np.ndarray, " r"]
    errors: Float[np.ndarray, " r"]
    correct: Bool[np.ndarray, " r"] | None
    strata: Int[np.ndarray, " r"] | None
    counts: Float[np.ndarray, " r"]

    def of_labels(self, labels: tuple[int, ...]) -> Bool[np.ndarray, " r"]:
        """Which examples have one of these labels; all, if there are none."""
        if not labels or self.strata is None:
            return np.ones(len(self.losses), dtype=bool)
        found: np.ndarray = np.isin(self.strata, labels)
        return found

    def of_part(self, j: int, labels: tuple[int, ...]) -> Float[np.ndarray, " r"]:
        """Memberships in the part of slice j that has one of these labels; in all of it, if there are none."""
        w: np.ndarray = self.memberships[j]
        return w * self.of_labels(labels) if labels else w

    def take(self, rows: Bool[np.ndarray, " r"]) -> Examined:
        """Some of the examples."""
        return Examined(
            take_rows(self.embeddings, rows),
            self.memberships[:, rows],
            self.losses[rows],
            self.badness[rows],
            self.errors[rows],
            None if self.correct is None else self.correct[rows],
            None if self.strata is None else self.strata[rows],
            self.counts[rows],
        )


@dataclass(frozen=True, eq=False)
class Unit:
    """What is tested: a slice, or the part of it that has one label.

    A slice of two labels is often two mistakes side by side: a model that takes red for low is wrong about red fives
    and, next to them, about green twos. Each is tested, extended and named for itself.

    Attributes:
        slice: Position of the slice.
        labels: Codes of the labels that this part of it has; none if it is all of it.
        here, there: The described and the tested examples.
    """

    slice: int
    labels: tuple[int, ...]
    here: Examined
    there: Examined

    @property
    def described(self) -> Float[np.ndarray, " r"]:
        """Membership of the described examples."""
        return self.here.of_part(self.slice, self.labels)

    @property
    def tested(self) -> Float[np.ndarray, " m"]:
        """Membership of the tested examples."""
        return self.there.of_part(self.slice, self.labels)


def units_of(here: Examined, there: Examined, searched: Bool[np.ndarray, " r"], by_label: bool) -> list[Unit]:
    """The slices, cut by label where few labels make up nearly all of one.

    Args:
        here: What the slices are described over.
        there: What they are tested on.
        searched: The described examples that they were sought in; the cut is decided there.
        by_label: Whether labels are classes that a slice can be cut by.

    Returns:
        One or more units per slice, in the slices' order.
    """
    found = []
    for j, w in enumerate(here.memberships):
        labels = leading_labels(here, w * searched) if by_label else ()
        found += [Unit(j, (label,), here, there) for label in labels] or [Unit(j, (), here, there)]
    return found


def leading_labels(examined: Examined, weights: Float[np.ndarray, " r"]) -> tuple[int, ...]:
    """The labels that a slice is cut by: a few that make up nearly all of it; none where it is about no label."""
    if examined.strata is None:
        return ()
    mass = np.bincount(examined.strata, weights=weights * examined.counts)
    if mass.sum() <= 0:
        return ()
    shares = mass / mass.sum()
    leading = np.flatnonzero(shares >= _LABEL_SHARE)
    return tuple(leading.tolist()) if shares[leading].sum() >= _LABELS_TOGETHER else ()


def is_worse(unit: Unit, here: Examined, there: Examined) -> bool:
    """Whether a unit has more errors inside than outside, on the tested examples if any of them lie in it."""
    for examined, weights in ((there, unit.tested), (here, unit.described)):
        worse = fails_more(examined, weights)
        if worse is not None:
            return worse
    return False


def fails_more(examined: Examined, weights: Float[np.ndarray, " r"]) -> bool | None:
    """Whether errors are commoner (or larger) inside than outside; None where there is no inside or no outside."""
    inside, outside = examined.counts * weights, examined.counts * (1 - weights)
    if inside.sum() <= 0 or outside.sum() <= 0:
        return None
    within, without = (float(mass @ examined.errors / mass.sum()) for mass in (inside, outside))
    return within > without * (1 + 1e-12)
