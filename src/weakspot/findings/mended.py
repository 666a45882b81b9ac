"""Before and after: how two models do on the same examples, where the first one failed and in its worst groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Bool

from weakspot.evaluation.contrasts import Contrast, accuracy_contrast, loss_contrast
from weakspot.predictions import Predictions
from weakspot.predictions.attributes import MISSING

_FEWEST = 10  # examples of a value, below which its accuracy says little
_MOST_VALUES = 100  # of an attribute that parts examples into groups


@dataclass(frozen=True)
class Measured:
    """How one model does on some of the examples.

    Attributes:
        examples: How many they are.
        accuracy: The share that is right, and its 95 % interval (Wilson); None where nothing is right or wrong.
        interval: Of the accuracy, or where that is unknown of the loss.
        loss: Mean loss; None where there are no losses.
        value: The attribute value that they have in common, where that was chosen for being the worst.
    """

    examples: int
    accuracy: float | None
    interval: tuple[float, float] | None
    loss: float | None
    value: str | None = None

    @property
    def badness(self) -> float:
        """By which the worst of several is told."""
        return -self.accuracy if self.accuracy is not None else self.loss or 0.0


@dataclass(frozen=True)
class Change:
    """The same examples before and after; of the worst group each model's own.

    Attributes:
        kind: "all", "finding", "rest" (what lies in no finding), or "worst": the worst value of an attribute.
        name: Of the finding or the attribute; else what the examples are, in words.
        before, after: What the two models do on them.
    """

    kind: Literal["all", "finding", "rest", "worst"]
    name: str
    before: Measured
    after: Measured

    @property
    def points(self) -> float | None:
        """By how many percentage points accuracy rose."""
        if self.before.accuracy is None or self.after.accuracy is None:
            return None
        return 100 * (self.after.accuracy - self.before.accuracy)


@dataclass(frozen=True)
class Mended:
    """What a second model does better than a first, and worse.

    Attributes:
        where: On which examples, in words.
        changes: Of all of them, of every finding, of the rest, and of the worst group of every attribute of few values.
    """

    where: str
    changes: tuple[Change, ...]

    @classmethod
    def of(
        cls,
        before: Predictions,
        after: Predictions,
        findings: Mapping[str, Bool[np.ndarray, " n"]],
        where: str,
    ) -> Mended:
        """Measure both.

        Args:
            before, after: The record of each model, of the same examples in the same order.
            findings: Which examples each finding holds, by its name.
            where: What the examples are, in words.

        Raises:
            ValueError: If the examples are not the same.
        """
        if not np.array_equal(before.ids, after.ids):
            raise ValueError("before and after must be of the same examples, in the same order")
        everyone = np.ones(len(before), dtype=bool)
        changes = [Change("all", "all examples", _measured(before, everyone), _measured(after, everyone))]
        changes += [
            Change("finding", name, _measured(before, rows), _measured(after, rows))
            for name, rows in findings.items()
            if rows.any()
        ]
        rest = ~np.any(list(findings.values()), axis=0) if findings else ~everyone
        if rest.any():
            changes.append(Change("rest", "in none of them", _measured(before, rest), _measured(after, rest)))
        for attribute, values in _parted(before.attributes):
            worst = (
                max((_measured(p, rows, value) for value, rows in values.items()), key=lambda m: m.badness)
                for p in (before, after)
            )
            changes.append(Change("worst", attribute, *worst))
        return cls(where, tuple(changes))


def _measured(p: Predictions, rows: Bool[np.ndarray, " n"], value: str | None = None) -> Measured:
    counts = np.ones(len(p)) if p.counts is None else p.counts.astype(np.float64)
    inside, outside = counts * rows, counts * ~rows
    loss = accuracy = None
    if p.losses is not None:
        loss = loss_contrast(p.losses.astype(np.float64), inside, outside, None)
    if p.correct is not None:
        accuracy = accuracy_contrast(np.asarray(p.correct, dtype=bool), inside, outside, None)
    stated: Contrast | None = accuracy or loss
    return Measured(
        examples=int(rows.sum()),
        accuracy=None if accuracy is None else accuracy.inside,
        interval=None if stated is None else stated.interval,
        loss=None if loss is None else loss.inside,
        value=value,
    )


def _parted(attributes: pa.Table) -> Iterator[tuple[str, dict[str, Bool[np.ndarray, " n"]]]]:
    """Attributes that part the examples into a few groups of some size, and these groups by value."""
    for name in attributes.column_names:
        column = attributes[name]
        if pa.types.is_floating(column.type):
            continue
        words = np.array([_in_words(value) for value in column.to_pylist()], dtype=object)
        values, codes, sizes = np.unique(words.astype(str), return_inverse=True, return_counts=True)
        groups = {str(values[i]): codes == i for i in np.flatnonzero(sizes >= _FEWEST)}
        if len(values) <= _MOST_VALUES and len(groups) > 1:
            yield name, groups


def _in_words(value: object) -> str:
    if value is None:
        return MISSING
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)
