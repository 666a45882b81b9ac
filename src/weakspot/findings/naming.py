"""The name of a region: the attribute values, alone or two together, that hold for it and hardly elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int

from weakspot.predictions.attributes import categorise

LABEL = "label"
"""What a condition on the label is called; the record reserves the name, so no attribute has it."""

_AGREES = 0.5  # F1 below which a name would be about something else
_BEYOND = 0.25  # of the way to 1 that a name's F1 must get beyond the F1 of naming everything
_WORTH = 0.04  # of F1 that a second condition must add
_ROUND = 0.01  # of F1 that a round threshold may cost
_BASES = 8  # single conditions that a second one is tried with
_FEW_NUMBERS = 5  # distinct ones, up to which each is a value of its own
_MOST_ROWS = 50_000  # more do not name a region better


@dataclass(frozen=True)
class Condition:
    """A value of an attribute, or the numbers on one side of a threshold: `colour = red`, `age > 70`."""

    attribute: str
    relation: Literal["=", "≤", ">"]
    value: str | float

    @property
    def of_label(self) -> bool:
        """Whether it is about the label, which is no attribute."""
        return self.attribute == LABEL

    @property
    def topic(self) -> tuple[str, str, str]:
        """What it is about, wherever its threshold lies."""
        return self.attribute, self.relation, self.value if isinstance(self.value, str) else ""

    def __str__(self) -> str:
        value = self.value if isinstance(self.value, str) else f"{self.value:.6g}".replace("-", "−")
        return f"{self.attribute} {self.relation} {value}"


@dataclass(frozen=True)
class Description:
    """Conditions that a region can be named by, joined by *and*.

    Attributes:
        conditions: One or two.
        holds_for: Share of the region for which they hold.
        covers: Share of the examples for which they hold that lie in the region.
    """

    conditions: tuple[Condition, ...]
    holds_for: float
    covers: float

    @property
    def f1(self) -> float:
        return _f1(self.holds_for, self.covers)

    def __str__(self) -> str:
        return " and ".join(map(str, self.conditions))


@dataclass(frozen=True, eq=False)
class _Candidate:
    conditions: tuple[Condition, ...]
    holds: Bool[np.ndarray, " n"]
    f1: float


class Namer:
    """Names regions by attributes; looks at each attribute once, however many regions there are.

    Candidates are the values of every attribute that `categorise` keeps, thresholds of numbers, and conjunctions of
    two of them; they are compared by F1, as if the name were to predict who lies in the region. A second condition
    is only named where it adds something. Thresholds are as round as they can be without naming the region worse.

    Args:
        attributes: Table of n rows.
        counts: (n,) how many times each example stands for itself; ones by default.
        seed: Of the sample that is looked at where there are very many examples.
    """

    def __init__(
        self, attributes: pa.Table, counts: Float[np.ndarray, " n"] | None = None, seed: int = 0
    ) -> None:
        n = attributes.num_rows
        self._rows = None
        if n > _MOST_ROWS:
            self._rows = np.sort(np.random.default_rng(seed).choice(n, _MOST_ROWS, replace=False))
            attributes = attributes.take(pa.array(self._rows))
        self._counts = None if counts is None else self._pick(np.asarray(counts, dtype=np.float64))
        self._columns = [
            (column, _numbers(attributes.column(column.name))) for column in categorise(attributes)
        ]
        self._places = {name: place for place, name in enumerate(attributes.column_names)}

    def describe(self, region: Float[np.ndarray, " n"]) -> Description | None:
        """The best name of a region.

        Args:
            region: Weights in [0, 1], how much each example belongs to the region.

        Returns:
            The description, or None where no attribute agrees with the region well enough.
        """
        inside = self._pick(np.asarray(region, dtype=np.float64))
        c = np.ones_like(inside) if self._counts is None else self._counts
        outside, inside = c * (1 - inside), c * inside
        total, rest = float(inside.sum()), float(outside.sum())
        if not (total > 0 and rest > 0):
            return None
        singles = sorted(self._singles(inside, outside, total), key=lambda one: -one.f1)
        if not singles:
            return None
        best = singles[0]
        for base in singles[:_BASES]:
            for second in self._singles(inside * base.holds, outside * base.holds, total):
                new = second.conditions[0].attribute != base.conditions[0].attribute
                if new and second.f1 > best.f1 + (_WORTH if len(best.conditions) == 1 else 0):
                    both = base.holds & second.holds
                    best = _Candidate((*base.conditions, *second.conditions), both, second.f1)
        conditions = sorted(best.conditions, key=lambda condition: self._places[condition.attribute])
        hits, misses = float(inside @ best.holds), float(outside @ best.holds)
        if hits <= 0:
            return None
        found = Description(tuple(conditions), hits / total, hits / (hits + misses))
        everything = _f1(1.0, total / (total + rest))
        return found if found.f1 >= max(_AGREES, everything + _BEYOND * (1 - everything)) else None

    def _pick(self, values: np.ndarray) -> np.ndarray:
        return values if self._rows is None else values[self._rows]

    def _singles(
        self, inside: Float[np.ndarray, " n"], outside: Float[np.ndarray, " n"], total: float
    ) -> Iterator[_Candidate]:
        """For every attribute its best value and, of numbers, its best threshold on either side.

        `total` is the region's whole mass, where `inside` holds only part of it.
        """
        for column, numbers in self._columns:
            if numbers is not None:
                yield from _thresholds(column.name, numbers, inside, outside, total)
                continue
            hits = np.bincount(column.codes, weights=inside, minlength=len(column.values))
            misses = np.bincount(column.codes, weights=outside, minlength=len(column.values))
            f1 = _f1_of(hits, misses, total)
            code = int(np.argmax(f1))
            condition = Condition(column.name, "=", column.values[code])
            yield _Candidate((condition,), column.codes == code, float(f1[code]))


@dataclass(frozen=True, eq=False)
class _Numbers:
    """A column of numbers, sorted once.

    Attributes:
        all: (n,) as they are.
        order: The rows of finite numbers, ascending.
        ends: Positions in `order` after which a larger number follows: where a threshold can lie.
    """

    all: Float[np.ndarray, " n"]
    order: Int[np.ndarray, " m"]
    ends: Int[np.ndarray, " t"]


def _numbers(column: pa.ChunkedArray) -> _Numbers | None:
    """A column of numbers that are many enough to have an order worth naming; None for any other."""
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return None
    if pc.count_distinct(column).as_py() <= _FEW_NUMBERS:
        return None
    numbers = np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)
    known = np.flatnonzero(np.isfinite(numbers))
    order = known[np.argsort(numbers[known], kind="stable")]
    ends = np.flatnonzero(np.diff(numbers[order]) > 0)
    return None if len(ends) == 0 else _Numbers(numbers, order, ends)


def _thresholds(
    name: str,
    numbers: _Numbers,
    inside: Float[np.ndarray, " n"],
    outside: Float[np.ndarray, " n"],
    total: float,
) -> Iterator[_Candidate]:
    values, ends = numbers.all[numbers.order], numbers.ends
    sums = [np.cumsum(mass[numbers.order]) for mass in (inside, outside)]
    below = sums[0][ends], sums[1][ends]
    above = sums[0][-1] - below[0], sums[1][-1] - below[1]
    sides: list[tuple[Literal["≤", ">"], np.ndarray]] = [
        ("≤", _f1_of(*below, total)),
        (">", _f1_of(*above, total)),
    ]
    for relation, f1 in sides:
        best = int(np.argmax(f1))

        def score(threshold: float, f1: np.ndarray = f1) -> float:
            at = int(np.searchsorted(values[ends], threshold, side="right")) - 1
            return float(f1[at]) if at >= 0 and threshold < values[-1] else -1.0

        low, high = float(values[ends[best]]), float(values[ends[best] + 1])
        threshold = _round_between(low, high, score, float(f1[best]) - _ROUND)
        holds = numbers.all <= threshold if relation == "≤" else numbers.all > threshold
        yield _Candidate((Condition(name, relation, threshold),), holds, score(threshold))


def _round_between(low: float, high: float, score: Callable[[float], float], least: float) -> float:
    """The roundest threshold of at least this score, near the gap between two neighbouring numbers."""
    scale = max(abs(low), abs(high), 1e-300)
    for digits in range(1, 7):
        unit = 10.0 ** (math.floor(math.log10(scale)) + 1 - digits)
        for step in (5 * unit, unit) if digits > 1 else (unit,):
            near = {math.floor(low / step) * step, math.ceil(low / step) * step, round(high / step) * step}
            fit = [t for t in (float(f"{t:.12g}") for t in near) if score(t) >= least]
            if fit:
                return max(fit, key=lambda t: (score(t), -abs(t - low)))
    return low


def _f1_of(hits: np.ndarray, misses: np.ndarray, total: float) -> np.ndarray:
    """F1 of conditions that hold for so much mass inside and outside a region of mass `total`."""
    f1: np.ndarray = 2 * hits / np.maximum(hits + misses + total, 1e-300)
    return f1


def _f1(recall: float, precision: float) -> float:
    return 2 * recall * precision / (recall + precision) if recall + precision > 0 else 0.0
