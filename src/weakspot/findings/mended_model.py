"""Compares a model before and after mending on the same examples: in its findings and in its worst groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Bool

from weakspot.evaluation.contrasts import Contrast, accuracy_contrast, loss_contrast
from weakspot.legible import shortened
from weakspot.predictions import Predictions
from weakspot.predictions.attributes import MISSING

_MIN_EXAMPLES_OF_VALUE = 10  # with fewer, the accuracy says little
_MOST_VALUES = 100  # of an attribute whose values are groups


@dataclass(frozen=True)
class GroupPerformance:
    """Holds how one model does on some of the examples.

    Attributes:
        examples: The number of examples.
        accuracy: The share that is right; None if nothing is right or wrong.
        interval: The 95 % interval of the accuracy (Wilson), or of the loss if the accuracy is unknown.
        loss: The mean loss; None if there are no losses.
        value: The attribute value that the examples have in common, if they were chosen as the worst group.
    """

    examples: int
    accuracy: float | None
    interval: tuple[float, float] | None
    loss: float | None
    value: str | None = None

    @property
    def severity(self) -> float:
        """How badly the model does; the worst of several groups has the highest value."""
        return -self.accuracy if self.accuracy is not None else self.loss or 0.0


@dataclass(frozen=True)
class Change:
    """Holds how two models do on the same examples or, for an attribute, how each does on its own worst group.

    Attributes:
        kind: "all", "finding", "rest" (what lies in no finding), or "worst": the worst value of an attribute.
        name: The name of the finding or the attribute; otherwise the examples, in words.
        before, after: How the two models do on them.
    """

    kind: Literal["all", "finding", "rest", "worst"]
    name: str
    before: GroupPerformance
    after: GroupPerformance

    @property
    def points(self) -> float | None:
        """By how many percentage points the accuracy rose; None if it is unknown."""
        if self.before.accuracy is None or self.after.accuracy is None:
            return None
        return 100 * (self.after.accuracy - self.before.accuracy)


@dataclass(frozen=True)
class MendedModelComparison:
    """Holds what a second model does better than a first one, and what it does worse.

    Attributes:
        where: Which examples the models are compared on, in words.
        changes: The changes on all of them, on every finding, on the rest, and on the worst group of every attribute
            that has few values.
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
    ) -> MendedModelComparison:
        """Measure both models.

        Args:
            before, after: The predictions of each model, for the same n examples in the same order.
            findings: (n,) which examples each finding holds, by the finding's name.
            where: The examples, in words.

        Returns:
            The comparison.

        Raises:
            ValueError: If the examples are not the same.
        """
        if not np.array_equal(before.ids, after.ids):
            raise ValueError("before and after must hold the same examples in the same order")
        all_examples = np.ones(len(before), dtype=bool)
        changes = [
            Change("all", "all examples", _measure(before, all_examples), _measure(after, all_examples))
        ]
        changes += [
            Change("finding", name, _measure(before, rows), _measure(after, rows))
            for name, rows in findings.items()
            if rows.any()
        ]
        rest = ~np.any(list(findings.values()), axis=0) if findings else ~all_examples
        if rest.any():
            changes.append(Change("rest", "in none of them", _measure(before, rest), _measure(after, rest)))
        for attribute, values in _groups_by_attribute(before.attributes):
            worst = (
                max((_measure(p, rows, value) for value, rows in values.items()), key=lambda m: m.severity)
                for p in (before, after)
            )
            changes.append(Change("worst", attribute, *worst))
        return cls(where, tuple(changes))


def _measure(p: Predictions, rows: Bool[np.ndarray, " n"], value: str | None = None) -> GroupPerformance:
    counts = p.row_counts
    inside, outside = counts * rows, counts * ~rows
    loss = accuracy = None
    if p.losses is not None:
        loss = loss_contrast(p.losses.astype(np.float64), inside, outside, None)
    if p.correct is not None:
        accuracy = accuracy_contrast(np.asarray(p.correct, dtype=bool), inside, outside, None)
    reported: Contrast | None = accuracy or loss
    return GroupPerformance(
        examples=int(rows.sum()),
        accuracy=None if accuracy is None else accuracy.inside,
        interval=None if reported is None else reported.interval,
        loss=None if loss is None else loss.inside,
        value=value,
    )


def _groups_by_attribute(attributes: pa.Table) -> Iterator[tuple[str, dict[str, Bool[np.ndarray, " n"]]]]:
    """Yield attributes whose values split the examples into a few groups of some size, and the groups by value."""
    for name in attributes.column_names:
        column = attributes[name]
        if pa.types.is_floating(column.type):
            continue
        words = np.array([_as_text(value) for value in column.to_pylist()], dtype=object)
        values, codes, sizes = np.unique(words.astype(str), return_inverse=True, return_counts=True)
        groups = {str(values[i]): codes == i for i in np.flatnonzero(sizes >= _MIN_EXAMPLES_OF_VALUE)}
        if len(values) <= _MOST_VALUES and len(groups) > 1:
            yield name, groups


def _as_text(value: object) -> str:
    if value is None:
        return MISSING
    return ("no", "yes")[value] if isinstance(value, bool) else shortened(str(value))
