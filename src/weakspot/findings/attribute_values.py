"""Of an attribute: how well the model does on each of its values, and how much of each slice has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from weakspot.evaluation.contrasts import Contrast, accuracy_contrast, loss_contrast
from weakspot.findings.record import Findings
from weakspot.methods.registry import audit_of, method_of
from weakspot.predictions import Predictions
from weakspot.predictions.attributes import Categorical, categorise
from weakspot.slices import Slices

_FEWEST = 5.0  # examples that say something of a value


@dataclass(frozen=True)
class ValueRow:
    """One value of an attribute.

    Attributes:
        text: As people read it.
        measured: How well the model does on it, with the 95 % interval.
        shares: Its share among all examples, then in each slice.
    """

    text: str
    measured: Contrast
    shares: tuple[float, ...]


@dataclass(frozen=True)
class AttributeValues:
    """The values of an attribute that are shown, worst first, or ranges of numbers in their order.

    Attributes:
        rows: One for each.
        known: How many values the attribute has.
        enough: How many of them have examples enough to say something of.
        whole: The measure over all examples.
        by_accuracy: Whether the measure is the accuracy; otherwise it is the mean loss.
        noun: What the method calls a slice.
    """

    rows: tuple[ValueRow, ...]
    known: int
    enough: int
    whole: float
    by_accuracy: bool
    noun: str


def values_of(
    predictions: Predictions, slices: Slices, attribute: str, most: int, most_slices: int
) -> AttributeValues:
    """How well the model does on each value of an attribute, and its share of the first slices.

    Where the record does not tell right from wrong, and of ratings and numbers, the mean loss stands for the accuracy.

    Args:
        predictions: The record.
        slices: Of the same examples.
        attribute: Its name.
        most: How many values are described, of those with at least five examples where any has as many.
        most_slices: How many slices.

    Returns:
        The values.

    Raises:
        ValueError: If there is no such attribute, or it describes nothing.
    """
    audited = audit_of(slices, predictions)
    rows = np.flatnonzero(audited.rows)
    p = audited.record.take(rows)
    column = _column(p, attribute)
    counts = np.ones(len(p)) if p.counts is None else p.counts.astype(np.float64)
    contrasts, whole, by_accuracy = _contrasts(p, column, counts)
    weights = [np.asarray(slices.weights[j])[rows] for j in range(min(most_slices, len(slices)))]
    shares = _shares(column, [counts, *(counts * w for w in weights)])
    return AttributeValues(
        rows=tuple(
            ValueRow(column.values[code], contrasts[code], tuple(map(float, shares[:, code])))
            for code in _chosen(contrasts, column, by_accuracy, most)
        ),
        known=len(column.values),
        enough=len(contrasts),
        whole=whole,
        by_accuracy=by_accuracy,
        noun=method_of(slices).noun,
    )


def telling_attributes(findings: Findings, predictions: Predictions, most_values: int) -> list[str]:
    """The attributes that tell slices from the rest, those of the first slices first; none of more values than that."""
    said = [line for one in findings.slices for line in one.portrait.enrichment if line.telling]
    names = list(dict.fromkeys(line.attribute for line in said))
    few = {column.name for column in categorise(predictions.attributes.select(names), most_values)}
    return [name for name in names if name in few]


def _column(p: Predictions, attribute: str) -> Categorical:
    if attribute not in p.attributes.column_names:
        known = ", ".join(p.attributes.column_names) or "none"
        raise ValueError(f"there is no attribute {attribute!r} here; there are: {known}")
    found = categorise(p.attributes.select([attribute]))
    if not found:
        raise ValueError(
            f"the attribute {attribute!r} describes nothing: it has one value only, or names rows"
        )
    return found[0]


def _contrasts(
    p: Predictions, column: Categorical, counts: Float[np.ndarray, " n"]
) -> tuple[dict[int, Contrast], float, bool]:
    """How well the model does on each value that has examples enough, and on all; and whether that is accuracy."""
    sizes = np.bincount(column.codes, weights=counts, minlength=len(column.values))
    enough = [int(code) for code in np.flatnonzero(sizes >= min(_FEWEST, sizes.max()))]
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
    """The counts of the examples that have a value, and of those that have another."""
    inside = counts * (column.codes == code)
    return inside, counts - inside


def _chosen(contrasts: dict[int, Contrast], column: Categorical, by_accuracy: bool, most: int) -> list[int]:
    """The values that do worst; ranges in their own order, where all of them have room."""
    if column.unit is not None and len(contrasts) <= most:
        return sorted(contrasts)
    sign = 1 if by_accuracy else -1
    return sorted(contrasts, key=lambda code: (sign * contrasts[code].inside, code))[:most]


def _shares(column: Categorical, masses: Sequence[Float[np.ndarray, " n"]]) -> Float[np.ndarray, "g v"]:
    """The share of each value in each group."""
    return np.array(
        [
            np.bincount(column.codes, weights=mass, minlength=len(column.values)) / max(mass.sum(), 1e-12)
            for mass in masses
        ]
    )
