"""Measures how well the model does on each value of an attribute, and how much of each slice has the value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from weakspot.evaluation.contrasts import Contrast, accuracy_contrast, loss_contrast
from weakspot.findings.record import Findings
from weakspot.methods.registry import audit_of, method_of
from weakspot.predictions import Predictions
from weakspot.predictions.attributes import Categorical, categorise, suggest_names
from weakspot.slices import Slices

_MIN_EXAMPLES_OF_VALUE = 5.0  # with fewer, the accuracy says nothing


@dataclass(frozen=True)
class ValueRow:
    """Holds how well the model does on one value of an attribute.

    Attributes:
        text: The value as text.
        performance: The accuracy or loss of the examples that have it, with the 95 % interval.
        shares: Its share among all examples, then in each slice.
    """

    text: str
    performance: Contrast
    shares: tuple[float, ...]


@dataclass(frozen=True)
class AttributeValues:
    """Holds the values of an attribute that are shown.

    Attributes:
        rows: One for each value, the worst first; ranges of numbers are in their own order.
        n_values: How many values the attribute has.
        n_measured: How many of them have enough examples to measure the model on.
        overall: The measure over all examples.
        by_accuracy: Whether the measure is the accuracy; otherwise it is the mean loss.
        noun: What the method calls a slice.
    """

    rows: tuple[ValueRow, ...]
    n_values: int
    n_measured: int
    overall: float
    by_accuracy: bool
    noun: str


def describe_attribute_values(
    predictions: Predictions, slices: Slices, attribute: str, most: int, most_slices: int
) -> AttributeValues:
    """Measure how well the model does on each value of an attribute, and the share of each value in the first slices.

    The mean loss replaces the accuracy for ratings and numbers, and when the predictions do not record which examples
    are right.

    Args:
        predictions: The n examples.
        slices: Slices of the same examples.
        attribute: The name of the attribute.
        most: How many values to describe at most; values with fewer than five examples are left out unless no value has
            five.
        most_slices: How many slices to describe at most.

    Returns:
        The values.

    Raises:
        ValueError: If there is no such attribute, or it describes nothing.
    """
    audited = audit_of(slices, predictions)
    rows = np.flatnonzero(audited.rows)
    p = audited.record.take(rows)
    column = _column(p, attribute)
    counts = p.row_counts
    contrasts, overall, by_accuracy = _contrasts(p, column, counts)
    weights = [np.asarray(slices.weights[j])[rows] for j in range(min(most_slices, len(slices)))]
    shares = _shares(column, [counts, *(counts * w for w in weights)])
    return AttributeValues(
        rows=tuple(
            ValueRow(column.values[code], contrasts[code], tuple(map(float, shares[:, code])))
            for code in _values_to_show(contrasts, column, by_accuracy, most)
        ),
        n_values=len(column.values),
        n_measured=len(contrasts),
        overall=overall,
        by_accuracy=by_accuracy,
        noun=method_of(slices).noun,
    )


def distinguishing_attributes(findings: Findings, predictions: Predictions, most_values: int) -> list[str]:
    """Return attributes with at most `most_values` values that distinguish slices from the rest, in slice order."""
    lines = [line for one in findings.slices for line in one.portrait.enrichment if line.telling]
    names = list(dict.fromkeys(line.attribute for line in lines))
    few = {column.name for column in categorise(predictions.attributes.select(names), most_values)}
    return [name for name in names if name in few]


def _column(p: Predictions, attribute: str) -> Categorical:
    if attribute not in p.attributes.column_names:
        instead = suggest_names(attribute, p.attributes.column_names)
        raise ValueError(f"there is no attribute {attribute!r} here{instead}")
    found = categorise(p.attributes.select([attribute]))
    if not found:
        raise ValueError(
            f"the attribute {attribute!r} describes nothing: it has one value only, or names rows"
        )
    return found[0]


def _contrasts(
    p: Predictions, column: Categorical, counts: Float[np.ndarray, " n"]
) -> tuple[dict[int, Contrast], float, bool]:
    """Measure the model on each value with enough examples and overall; also return whether it is the accuracy."""
    sizes = np.bincount(column.codes, weights=counts, minlength=len(column.values))
    enough = [int(code) for code in np.flatnonzero(sizes >= min(_MIN_EXAMPLES_OF_VALUE, sizes.max()))]
    if p.correct is not None and (p.task is None or p.task.by_accuracy):
        right = np.asarray(p.correct, dtype=bool)
        found = {code: accuracy_contrast(right, *_sides(column, counts, code), None) for code in enough}
        return found, float(np.average(right, weights=counts)), True
    if p.losses is None:
        raise ValueError("these predictions hold neither losses nor which examples are right")
    losses = p.losses.astype(np.float64)
    found = {code: loss_contrast(losses, *_sides(column, counts, code), None) for code in enough}
    return found, float(np.average(losses, weights=counts)), False


def _sides(
    column: Categorical, counts: Float[np.ndarray, " n"], code: int
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return the counts (n,) of the examples that have a value, and of those that have another."""
    inside = counts * (column.codes == code)
    return inside, counts - inside


def _values_to_show(
    contrasts: dict[int, Contrast], column: Categorical, by_accuracy: bool, most: int
) -> list[int]:
    """Return the values with the worst results; ranges of numbers stay in their own order if all are shown."""
    if column.unit is not None and len(contrasts) <= most:
        return sorted(contrasts)
    sign = 1 if by_accuracy else -1
    return sorted(contrasts, key=lambda code: (sign * contrasts[code].inside, code))[:most]


def _shares(column: Categorical, masses: Sequence[Float[np.ndarray, " n"]]) -> Float[np.ndarray, "g v"]:
    """Return the share of each of v values in each of g groups."""
    return np.array(
        [
            np.bincount(column.codes, weights=mass, minlength=len(column.values)) / max(mass.sum(), 1e-12)
            for mass in masses
        ]
    )
