"""Names regions by attribute values, one alone or two together, that hold for a region and hardly elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int, Shaped

from weakspot.hashing import id_hashes, sample_rows
from weakspot.predictions.attributes import categorise

LABEL = "label"
"""The attribute of a condition on the label; predictions reserve the name, so no real attribute has it."""

_LEAST_F1 = 0.5  # below it a name would be about something else
_LEAST_GAIN = 0.25  # how far from the F1 of naming everything to 1 the F1 of a name must reach
_SECOND_ADDS = 0.04  # of F1 that a second condition must add
_ROUNDING_COSTS = 0.01  # of F1, at most, that a round threshold may cost
_FIRST_CONDITIONS = 8  # best first conditions that a second one is tried with
_FEW_NUMBERS = 5  # distinct numbers, up to which each is a value of its own
_MOST_ROWS = 50_000  # more rows do not name a region better


@dataclass(frozen=True)
class Condition:
    """A condition on an attribute: its value, or a threshold of its numbers (`colour = red`, `age > 70`)."""

    attribute: str
    relation: Literal["=", "≤", ">"]
    value: str | float

    @property
    def of_label(self) -> bool:
        """Whether it is about the label, which is not an attribute."""
        return self.attribute == LABEL

    @property
    def topic(self) -> tuple[str, str, str]:
        """What it is about, whatever its threshold."""
        return self.attribute, self.relation, self.value if isinstance(self.value, str) else ""

    def __str__(self) -> str:
        value = self.value if isinstance(self.value, str) else f"{self.value:.6g}".replace("-", "−")
        return f"{self.attribute} {self.relation} {value}"


@dataclass(frozen=True)
class Conjunction:
    """One or two conditions, joined by *and*, that name a region.

    Attributes:
        conditions: The conditions.
        holds_for: The share of the region for which they hold (recall).
        covers: The share of the examples for which they hold that lie in the region (precision).
    """

    conditions: tuple[Condition, ...]
    holds_for: float
    covers: float

    @property
    def f1(self) -> float:
        """The harmonic mean of both shares: how well the conditions predict who lies in the region."""
        return _f1(self.holds_for, self.covers)

    def __str__(self) -> str:
        return " and ".join(map(str, self.conditions))


@dataclass(frozen=True, eq=False)
class _Candidate:
    """Conditions with the examples (n,) for which they hold."""

    conditions: tuple[Condition, ...]
    holds: Bool[np.ndarray, " n"]
    f1: float


class RegionNamer:
    """Names regions by attributes; reads each attribute once, however many regions there are.

    Candidates are the values of every attribute that `categorise` keeps, thresholds of numbers, and conjunctions of two
    of them; they are compared by F1, as if the name were to predict who lies in the region. A second condition is used
    only if it adds something. Thresholds are as round as they can be without naming the region worse.

    Args:
        attributes: A table of n rows.
        counts: (n,) how many times each example counts; ones by default.
        ids: (n,) ids of the examples, whose hashes decide which are sampled if there are very many; the row numbers by
            default.
    """

    def __init__(
        self,
        attributes: pa.Table,
        counts: Float[np.ndarray, " n"] | None = None,
        ids: Shaped[np.ndarray, " n"] | None = None,
    ) -> None:
        n = attributes.num_rows
        self._rows = None
        if n > _MOST_ROWS:
            names = range(n) if ids is None else ids
            self._rows = sample_rows(id_hashes(map(str, names), "region names"), _MOST_ROWS)
            attributes = attributes.take(pa.array(self._rows))
        self._counts = None if counts is None else self._pick(np.asarray(counts, dtype=np.float64))
        self._columns = [
            (column, _numbers(attributes.column(column.name))) for column in categorise(attributes)
        ]
        self._places = {name: place for place, name in enumerate(attributes.column_names)}

    def name(self, weights: Float[np.ndarray, " n"]) -> Conjunction | None:
        """Find the conditions that agree best with a region.

        Args:
            weights: (n,) in [0, 1], how much each example belongs to the region.

        Returns:
            The conditions, or None if no attribute agrees with the region well enough.
        """
        inside = self._pick(np.asarray(weights, dtype=np.float64))
        counts = np.ones_like(inside) if self._counts is None else self._counts
        outside, inside = counts * (1 - inside), counts * inside
        total, rest = float(inside.sum()), float(outside.sum())
        if not (total > 0 and rest > 0):
            return None
        singles = sorted(self._single_conditions(inside, outside, total), key=lambda one: -one.f1)
        if not singles:
            return None
        best = singles[0]
        for first in singles[:_FIRST_CONDITIONS]:
            for second in self._single_conditions(inside * first.holds, outside * first.holds, total):
                other_attribute = second.conditions[0].attribute != first.conditions[0].attribute
                must_add = _SECOND_ADDS if len(best.conditions) == 1 else 0
                if other_attribute and second.f1 > best.f1 + must_add:
                    both = first.holds & second.holds
                    best = _Candidate((*first.conditions, *second.conditions), both, second.f1)
        conditions = sorted(best.conditions, key=lambda condition: self._places[condition.attribute])
        hits, misses = float(inside @ best.holds), float(outside @ best.holds)
        if hits <= 0:
            return None
        found = Conjunction(tuple(conditions), hits / total, hits / (hits + misses))
        f1_of_everything = _f1(1.0, total / (total + rest))
        least = max(_LEAST_F1, f1_of_everything + _LEAST_GAIN * (1 - f1_of_everything))
        return found if found.f1 >= least else None

    def _pick(self, values: np.ndarray) -> np.ndarray:
        return values if self._rows is None else values[self._rows]

    def _single_conditions(
        self, inside: Float[np.ndarray, " n"], outside: Float[np.ndarray, " n"], total: float
    ) -> Iterator[_Candidate]:
        """Yield the best value of every attribute, or for numbers the best threshold in each direction.

        Args:
            inside: (n,) the mass of each example in the region, or in a part of it.
            outside: (n,) its mass outside.
            total: The mass of the whole region.
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
        all: (n,) the numbers.
        order: (m,) the rows of finite numbers, in ascending order.
        ends: (t,) positions in `order` after which a larger number follows: where a threshold can lie.
    """

    all: Float[np.ndarray, " n"]
    order: Int[np.ndarray, " m"]
    ends: Int[np.ndarray, " t"]


def _numbers(column: pa.ChunkedArray) -> _Numbers | None:
    """Sort a column of numbers; return None for any other column, or if there are few distinct numbers."""
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
    """Yield the best threshold of numbers that a region lies below, and the best that it lies above."""
    values, ends = numbers.all[numbers.order], numbers.ends
    sums = [np.cumsum(mass[numbers.order]) for mass in (inside, outside)]
    below = sums[0][ends], sums[1][ends]
    above = sums[0][-1] - below[0], sums[1][-1] - below[1]
    both_sides: list[tuple[Literal["≤", ">"], np.ndarray]] = [
        ("≤", _f1_of(*below, total)),
        (">", _f1_of(*above, total)),
    ]
    for relation, f1 in both_sides:
        best = int(np.argmax(f1))

        def score(threshold: float, f1: np.ndarray = f1) -> float:
            at = int(np.searchsorted(values[ends], threshold, side="right")) - 1
            return float(f1[at]) if at >= 0 and threshold < values[-1] else -1.0

        low, high = float(values[ends[best]]), float(values[ends[best] + 1])
        threshold = _round_between(low, high, score, float(f1[best]) - _ROUNDING_COSTS)
        holds = numbers.all <= threshold if relation == "≤" else numbers.all > threshold
        yield _Candidate((Condition(name, relation, threshold),), holds, score(threshold))


def _round_between(low: float, high: float, score: Callable[[float], float], least: float) -> float:
    """Return the roundest threshold with at least this score, near the gap between two neighbouring numbers."""
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
    """Return the F1 of conditions that hold for these masses inside and outside a region of mass `total`."""
    f1: np.ndarray = 2 * hits / np.maximum(hits + misses + total, 1e-300)
    return f1


def _f1(recall: float, precision: float) -> float:
    return 2 * recall * precision / (recall + precision) if recall + precision > 0 else 0.0
