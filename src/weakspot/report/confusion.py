"""The confusion matrix of a slice, cut down to what fits on a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from weakspot.slices.statistics import ConfusionCell

_SHOWN = 8  # labels, and predictions
_REST = "(others)"


@dataclass(frozen=True)
class Confusion:
    """Holds shares of a slice's weight by label (rows) and prediction (columns).

    Attributes:
        labels, predictions: The names of rows and columns.
        cells: Shares in [0, 1], row by row.
        right: Whether a cell is a right answer; None if its row or column adds up others.
        largest: The label, prediction and share of the largest single cell.
        largest_mistake: The same for the largest wrong cell, if there is any.
        merged: How many labels, and how many predictions, are added up as “(others)”.
        pairs: How many pairs of label and prediction occur, including those that are added up.
    """

    labels: Sequence[str]
    predictions: Sequence[str]
    cells: Sequence[Sequence[float]]
    right: Sequence[Sequence[bool | None]]
    largest: tuple[str, str, float]
    largest_mistake: tuple[str, str, float] | None
    merged: tuple[int, int]
    pairs: int


def confusion(weights: Sequence[ConfusionCell], classes: Sequence[str] = ()) -> Confusion | None:
    """Lay out the confusions of a slice.

    Up to eight classes are all shown, in their own order, so that slices can be compared at a glance. If there are
    more, only those that occur are shown, the largest first, and those beyond the first eight are added up.

    Args:
        weights: The cells of the slice's statistics.
        classes: The names of all classes, in their own order.

    Returns:
        The matrix; None if the slice has no weight.
    """
    total = sum(cell.weight for cell in weights)
    if total <= 0:
        return None
    labels, guesses = _axes(weights, classes)
    merged = (
        len({cell.label for cell in weights}.difference(labels)),
        len({cell.prediction for cell in weights}.difference(guesses)),
    )
    shares: dict[tuple[str, str], float] = {}
    for cell in weights:
        row = cell.label if cell.label in labels else _REST
        column = cell.prediction if cell.prediction in guesses else _REST
        shares[row, column] = shares.get((row, column), 0.0) + cell.weight / total
    labels += [_REST] * any(row == _REST and row not in labels for row, _ in shares)
    guesses += [_REST] * any(column == _REST and column not in guesses for _, column in shares)
    wrong = [cell for cell in weights if cell.label != cell.prediction]
    return Confusion(
        labels,
        guesses,
        [[shares.get((row, column), 0.0) for column in guesses] for row in labels],
        [[None if _REST in (row, column) else row == column for column in guesses] for row in labels],
        _top(weights, total),
        _top(wrong, total) if wrong else None,
        merged,
        len(weights),
    )


def _top(weights: Sequence[ConfusionCell], total: float) -> tuple[str, str, float]:
    top = max(weights, key=lambda cell: cell.weight)
    return top.label, top.prediction, top.weight / total


def _axes(weights: Sequence[ConfusionCell], classes: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return rows and columns, with shared names in the same order, so that right answers are on the diagonal."""
    named = {getattr(cell, side) for cell in weights for side in ("label", "prediction")}
    if len(classes) <= _SHOWN and named <= set(classes):
        return list(classes), list(classes)
    labels, guesses = _by_weight(weights, "label"), _by_weight(weights, "prediction")
    common = [name for name in labels if name in guesses]
    rows = common + [name for name in labels if name not in common]
    columns = common + [name for name in guesses if name not in common]
    return rows, columns


def _by_weight(weights: Sequence[ConfusionCell], side: str) -> list[str]:
    sums: dict[str, float] = {}
    for cell in weights:
        sums[getattr(cell, side)] = sums.get(getattr(cell, side), 0.0) + cell.weight
    names = sorted(sums, key=lambda name: -sums[name])
    return names if len(names) <= _SHOWN + 1 else names[:_SHOWN]
