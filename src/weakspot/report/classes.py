"""How the model does on each class, and which classes occur together, laid out for the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from weakspot.findings import Findings
from weakspot.findings.classes import relative_difference
from weakspot.findings.entries import AuditedSet, ClassMetrics, ClassPair

_SHOWN = 40  # classes in the table, and in a heat map
_PAIRS = 12  # pairs in their table
_LARGE_CELL, _CELL, _SMALL_CELL = 24, 12, 7  # pixels of a cell, with the gap to the next
_FEW = 12  # classes; with fewer the cells are large
_MANY = 24  # classes; with more the cells are small, so that three heat maps fit beside each other
_LETTER = 0.47  # of a cell's size plus 2 pixels: about the width of a letter beside a heat map
_LONGEST = 22  # letters of a name beside a heat map
_GAP = 28  # pixels between two heat maps
_TITLE = 140  # pixels of the longest title
_LEVELS = 10  # shades


@dataclass(frozen=True)
class ClassTable:
    """Holds the classes that are shown, and how many classes there are in all."""

    rows: Sequence[ClassMetrics]
    total: int


@dataclass(frozen=True)
class Level:
    """Holds all cells of one shade as one SVG path; `strength` is its opacity, from 0 to 1."""

    kind: str
    strength: float
    path: str


@dataclass(frozen=True)
class HeatMap:
    """One of three heat maps side by side.

    Attributes:
        title: Its title.
        left: Its left edge in pixels.
        largest: The share that its darkest cell stands for.
        levels: Its cells by their shade.
    """

    title: str
    left: float
    largest: float
    levels: Sequence[Level]


@dataclass(frozen=True)
class CoOccurrence:
    """Holds heat maps of which classes occur together.

    Attributes:
        names: The names of the classes that are drawn, in their own order.
        total: How many classes there are.
        pairs_left_out: How many pairs the findings do not hold.
        maps: The heat maps by labels, by predictions, and of their difference.
        pairs: The pairs whose numbers differ most, each with the names of its classes.
        margin: The space for names at the left and at the top, in pixels.
        cell: The size of a cell in pixels.
        width, height: The size of the whole drawing in pixels.
    """

    names: Sequence[str]
    total: int
    pairs_left_out: int
    maps: Sequence[HeatMap]
    pairs: Sequence[tuple[str, str, ClassPair]]
    margin: float
    cell: int
    width: float
    height: float

    @property
    def short(self) -> Sequence[str]:
        """The names, cut to what fits beside a heat map."""
        return [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in self.names]


def class_table(findings: Findings) -> ClassTable | None:
    """Return all classes in their own order or, if there are many, those with the lowest F1; None without classes."""
    rows = findings.whole.classes
    if len(rows) > _SHOWN:
        with_f1 = [row for row in rows if row.f1 is not None]
        shown = sorted(with_f1, key=lambda row: row.f1 or 0.0)[:_SHOWN]
        return ClassTable(shown, len(rows))
    return ClassTable(rows, len(rows)) if rows else None


def co_occurrence(findings: Findings) -> CoOccurrence | None:
    """Return heat maps of which classes occur together; None if examples have one class only."""
    whole = findings.whole
    if not whole.pairs:
        return None
    drawn = _frequent_classes(whole.classes)
    names = [whole.classes[i].name for i in drawn]
    cell = _LARGE_CELL if len(drawn) < _FEW else _CELL if len(drawn) <= _MANY else _SMALL_CELL
    margin = 10 + _LETTER * (min(cell, _CELL) + 2) * min(_LONGEST, max(map(len, names)))
    side = cell * len(drawn)
    step = max(side, _TITLE) + _GAP
    by_labels, by_predictions = shares(whole, drawn)
    difference = by_predictions - by_labels
    largest = _largest(by_labels, by_predictions)
    largest_difference = _largest(difference)
    layers = [
        ("Labels", largest, {"labels": by_labels}),
        ("Predictions", largest, {"predictions": by_predictions}),
        ("Predictions less labels", largest_difference, {"more-often": difference, "rarer": -difference}),
    ]
    maps = [
        HeatMap(title, margin + place * step, scale, [*_levels(kinds, scale, cell)])
        for place, (title, scale, kinds) in enumerate(layers)
    ]
    most = sorted(
        whole.pairs, key=lambda pair: relative_difference(pair.labels, pair.predictions), reverse=True
    )[:_PAIRS]
    return CoOccurrence(
        names,
        len(whole.classes),
        whole.pairs_left_out,
        maps,
        [(whole.classes[pair.first].name, whole.classes[pair.second].name, pair) for pair in most],
        margin,
        cell,
        width=margin + 3 * step - _GAP + 2,
        height=margin + side + 2,
    )


def shares(
    whole: AuditedSet, drawn: Sequence[int] | Int[np.ndarray, " s"]
) -> tuple[Float[np.ndarray, "s s"], Float[np.ndarray, "s s"]]:
    """Return the share of the examples of each class that have another class too, by labels and by predictions.

    Args:
        whole: The audited set.
        drawn: Positions of the s classes.

    Returns:
        Two arrays (s, s): the share of the examples of each row's class that have the column's class too. It is NaN on
        the diagonal, and in the rows of classes that no example has (by labels) or is predicted to have (by
        predictions).
    """
    place = {int(i): position for position, i in enumerate(drawn)}
    labels, predictions = (np.zeros((len(place), len(place))) for _ in range(2))
    for pair in whole.pairs:
        if pair.first in place and pair.second in place:
            i, j = place[pair.first], place[pair.second]
            labels[i, j] = labels[j, i] = pair.labels
            predictions[i, j] = predictions[j, i] = pair.predictions
    rows = [whole.classes[i] for i in place]
    of_labels, of_predictions = np.array([(row.examples, row.predicted) for row in rows]).T[..., None]
    for counts, of in ((labels, of_labels), (predictions, of_predictions)):
        np.fill_diagonal(counts, np.nan)
        counts /= np.where(of > 0, of, np.nan)
    return labels, predictions


def _frequent_classes(classes: Sequence[ClassMetrics]) -> list[int]:
    """Return positions of the most frequent classes, in labels and predictions together, in their own order."""
    frequent = sorted(range(len(classes)), key=lambda i: -(classes[i].examples + classes[i].predicted))
    return sorted(frequent[:_SHOWN])


def _largest(*shares: Float[np.ndarray, "s s"]) -> float:
    return max((float(np.nanmax(np.abs(one))) for one in shares if np.isfinite(one).any()), default=0.0)


def _levels(kinds: Mapping[str, Float[np.ndarray, "s s"]], largest: float, cell: int) -> Iterable[Level]:
    """Yield the cells of each kind by their shade: ten steps up to the largest share."""
    for kind, values in kinds.items():
        steps = np.ceil(_LEVELS * np.nan_to_num(values, nan=0.0) / (largest or 1.0) - 1e-9).astype(int)
        for step in range(1, _LEVELS + 1):
            cells = np.argwhere(steps == step)
            if len(cells):
                yield Level(
                    kind,
                    step / _LEVELS,
                    "".join(_square(row * cell, column * cell, cell - 1) for row, column in cells.tolist()),
                )


def _square(top: int, left: int, side: int) -> str:
    return f"M{left} {top}h{side}v{side}h-{side}z"
