"""Attributes as categories: what groups of examples are described by."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int, Shaped

from weakspot.predictions.calendar import CALENDAR, finest

MISSING = "(missing)"
"""The value that stands for null, NaN and nothing else."""

_DISTINCT_NUMBERS = 20  # more distinct numbers than this are told apart by quantile, not one by one
_DISTINCT_TIMES = 24  # more distinct days than this are told apart by week, more weeks by month, and so on
_BINS = 5
_REPEATS = 5  # expected among measured numbers: that none occurs has a chance below exp(-5)
_NAMES_ROWS = re.compile(
    r"(?:^|[^A-Za-z])(?i:id|ids|idx|index|uuid|guid|key|hash|row)$|[a-z](?:Id|ID|Idx|Index|Key|Hash)$"
)
_DURATIONS = {"d": 86_400, "h": 3600, "min": 60, "s": 1, "ms": 1e-3, "µs": 1e-6}
_PERIODS = {f"{unit.size}{unit.code}": unit for unit in CALENDAR}


@dataclass(frozen=True)
class Value:
    """One value of an attribute, as `categorise` found it in one table and any other can be asked for it.

    Attributes:
        attribute: The name of the column.
        text: The value as people read it.
        unit: Of a range: what numbers are counted in, of a duration or in the calendar; "" for plain ones.
        above, upto: Of a range: the numbers in it are larger than the one, and no larger than the other; None where
            there is no such bound.
    """

    attribute: str
    text: str
    unit: str | None = None
    above: float | None = None
    upto: float | None = None

    def holds(self, attributes: pa.Table) -> Bool[np.ndarray, " n"]:
        """Which rows of a table have it.

        Raises:
            ValueError: If the table lacks the column, or it is of another type.
        """
        if self.attribute not in attributes.column_names:
            known = ", ".join(attributes.column_names) or "none"
            raise ValueError(f"there is no attribute {self.attribute!r} here; there are: {known}")
        column = _plain(attributes.column(self.attribute))
        if self.text == MISSING:
            return np.asarray(column.is_null(nan_is_null=True).to_numpy(), dtype=bool)
        try:
            if self.unit is None:
                names = _listed(self.attribute, column)
                return np.isin(names.codes, [i for i, name in enumerate(names.values) if name == self.text])
            numbers = _numbers(column, self.unit)
        except pa.ArrowException as error:
            raise ValueError(
                f"the attribute {self.attribute!r} is of another type here ({column.type}), so it cannot be compared "
                f"with {self.text!r}"
            ) from error
        above = True if self.above is None else numbers > self.above
        upto = True if self.upto is None else numbers <= self.upto
        return np.asarray(~np.isnan(numbers) & above & upto)

    def __str__(self) -> str:
        return f"{self.attribute} = {self.text}" if self.unit is None else f"{self.attribute} {self.text}"


@dataclass(frozen=True, eq=False)
class Categorical:
    """An attribute as a code per row into readable values.

    Attributes:
        name: Of the column.
        values: As people read them.
        codes: (n,) which of them each row has.
        unit: Of ranges: what their bounds are counted in; None where values stand for themselves.
        ranges: Of each value that is one: above what its numbers lie, and up to what.
    """

    name: str
    values: tuple[str, ...]
    codes: Int[np.ndarray, " n"]
    unit: str | None = None
    ranges: tuple[tuple[float | None, float | None], ...] = ()

    def value(self, code: int) -> Value:
        """A value that any table can be asked for."""
        if code >= len(self.ranges):
            return Value(self.name, self.values[code])
        return Value(self.name, self.values[code], self.unit, *self.ranges[code])


def categorise(attributes: pa.Table, most: int | None = None) -> list[Categorical]:
    """The columns of a table that can describe a group, each as codes into readable values.

    Numbers with more than 20 distinct values become quintiles with round edges; dates and times the hours, days, weeks,
    months, quarters or years that tell them apart in at most 24 values; durations quintiles. What is left out, and
    why, `left_out` says.

    Args:
        attributes: Columns in their plain form (`predictions.plain`).
        most: Leaves out columns of more values than that.
    """
    described = (_described(name, attributes.column(name), most) for name in attributes.column_names)
    return [column for column in described if isinstance(column, Categorical)]


def left_out(attributes: pa.Table, most: int | None = None) -> list[tuple[str, str]]:
    """The columns that `categorise` leaves out, each with the reason as a clause ("it has one value only").

    These are columns that tell rows apart rather than join them (identifiers, file names, captions), and such as
    say the same of every row, or nothing.
    """
    described = ((name, _described(name, attributes.column(name), most)) for name in attributes.column_names)
    return [(name, reason) for name, reason in described if isinstance(reason, str)]


def _described(name: str, column: pa.ChunkedArray, most: int | None) -> Categorical | str:
    found = _categorical(name, column)
    if isinstance(found, Categorical) and len(found.values) < 2:
        return "it has one value only"
    if isinstance(found, Categorical) and most is not None and len(found.values) > most:
        return f"it has more than {most} values"
    return found


def _categorical(name: str, column: pa.ChunkedArray) -> Categorical | str:
    """The column as codes, or why it cannot describe a group."""
    kind = column.type
    if pa.types.is_nested(kind):
        return "it holds lists or records, not single values"
    column = _plain(column)
    kind = column.type
    if column.null_count == len(column):
        return "it has no values"
    distinct = len(column.drop_null().unique())
    own = distinct > 2 and distinct > len(column) / 2
    if pa.types.is_floating(kind):
        return _binned(name, column) if distinct > _DISTINCT_NUMBERS else _listed(name, column)
    if pa.types.is_integer(kind):
        if own and (reason := _identifies(name, column, distinct)):
            return reason
        return _binned(name, column) if own or distinct > _DISTINCT_NUMBERS else _listed(name, column)
    if pa.types.is_duration(kind):
        return (
            _binned_durations(name, column) if own or distinct > _DISTINCT_NUMBERS else _listed(name, column)
        )
    if pa.types.is_temporal(kind):
        return _by_time(name, column)
    if own:
        return "it has a value of its own in more than half of the rows, as identifiers, file names and captions have"
    return _listed(name, column)


def _identifies(name: str, column: pa.ChunkedArray, distinct: int) -> str | None:
    """Why whole numbers, most of which occur once, number the rows instead of measuring something.

    They do if their name says so, or if no two are the same although they lie so close together that measured ones
    would meet by chance: of n uniform over S values about n² / 2S do, and of others more.
    """
    if _NAMES_ROWS.search(name):
        return "it identifies rows, as its name says, and has a value of its own in more than half of them"
    ends = pc.min_max(column).as_py()
    spread = ends["max"] - ends["min"] + 1
    few = distinct <= _DISTINCT_NUMBERS
    alone = distinct == len(column) - column.null_count and distinct**2 > 2 * spread * _REPEATS
    return "it numbers the rows: hardly two have the same value" if few or alone else None


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Without a dictionary that has no order of its own, and without decimals."""
    kind = column.type
    if pa.types.is_dictionary(kind) and not kind.ordered:
        column = column.cast(kind.value_type)
    return column.cast(pa.float64()) if pa.types.is_decimal(column.type) else column


def _listed(name: str, column: pa.ChunkedArray) -> Categorical:
    """Every value for itself, in the values' own order, so that the order of rows changes nothing."""
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    if pa.types.is_dictionary(column.type):
        return _in_given_order(name, column)
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    values = encoded.dictionary
    order = pc.sort_indices(values).to_numpy()
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    names = [_text(value) for value in values.take(pa.array(order)).to_pylist()]
    return _with_missing(name, names, np.where(codes >= 0, np.append(place, 0)[codes], -1))


def _in_given_order(name: str, column: pa.ChunkedArray) -> Categorical:
    """The values of an ordered dictionary that occur, in its order."""
    whole = column.unify_dictionaries().combine_chunks()
    codes = whole.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    used = np.unique(codes[codes >= 0])
    names = [_text(value) for value in whole.dictionary.take(pa.array(used)).to_pylist()]
    return _with_missing(name, names, np.where(codes >= 0, np.searchsorted(used, codes), -1))


def _binned(name: str, column: pa.ChunkedArray) -> Categorical:
    return _quintiles(name, _numbers(column, ""), "", pa.types.is_integer(column.type))


def _binned_durations(name: str, column: pa.ChunkedArray) -> Categorical:
    """In the largest unit that half of them reach."""
    typical = float(np.nanmedian(np.abs(_numbers(column, "s"))))
    unit = next((unit for unit, size in _DURATIONS.items() if size <= typical), "µs")
    return _quintiles(name, _numbers(column, unit), unit, whole=False)


def _quintiles(name: str, numbers: Float[np.ndarray, " n"], unit: str, whole: bool) -> Categorical:
    edges = _edges(numbers[np.isfinite(numbers)], whole)
    codes = np.searchsorted(edges, numbers, side="left")  # bin j: edges[j-1] < x ≤ edges[j]
    names = [f"{text} {unit}".strip() for text in _bin_names(edges, whole)]
    bounds = [None, *edges.tolist(), None]
    found = _with_missing(name, names, np.where(np.isnan(numbers), -1, codes))
    return replace(found, unit=unit, ranges=tuple(pairwise(bounds)))


def _by_time(name: str, column: pa.ChunkedArray) -> Categorical:
    """By the finest unit of the calendar, or of the clock, that gives few values, each of several rows."""
    known = column.is_valid().to_numpy()
    clock = pa.types.is_time(column.type)
    moments = _moments(column)
    unit = finest(moments[known], min(_DISTINCT_TIMES, max(len(column) // 2, 2)))
    numbers = unit.number(moments)
    used = np.unique(numbers[known])
    names = [unit.name(int(number), clock) for number in used]
    found = _with_missing(name, names, np.where(known, np.searchsorted(used, numbers), -1))
    ranges = tuple((float(number - 1), float(number)) for number in used)
    return replace(found, unit=f"{unit.size}{unit.code}", ranges=ranges)


def _moments(column: pa.ChunkedArray) -> Shaped[np.ndarray, " n"]:
    """Times as NumPy has them, in microseconds; those of a clock on the first day of 1970."""
    kind = pa.time64("us") if pa.types.is_time(column.type) else pa.timestamp("us")
    whole = column.cast(kind, safe=False).cast(pa.int64())
    return np.asarray(whole.fill_null(0).to_numpy().astype("datetime64[us]"))


def _numbers(column: pa.ChunkedArray, unit: str) -> Float[np.ndarray, " n"]:
    """The numbers of a column in a unit of `Categorical`; NaN where there are none."""
    if unit in _PERIODS:
        return np.where(column.is_valid().to_numpy(), _PERIODS[unit].number(_moments(column)), np.nan)
    if unit in _DURATIONS:
        microseconds = column.cast(pa.duration("us"), safe=False).cast(pa.int64()).cast(pa.float64())
        return np.asarray(microseconds.to_numpy() / 1e6 / _DURATIONS[unit])
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy())


def _edges(numbers: np.ndarray, whole: bool) -> np.ndarray:
    """Inner quantiles, rounded to what tells them apart, so that a label is exact and short."""
    quantiles = np.quantile(numbers, np.arange(1, _BINS) / _BINS)
    if whole:
        edges = np.unique(np.floor(quantiles))
    else:
        spread = float(quantiles[-1] - quantiles[0]) or float(np.ptp(numbers)) or 1.0
        edges = np.unique(np.round(quantiles, 2 - math.floor(math.log10(spread))))
    inner: np.ndarray = edges[edges < numbers.max()]
    return inner


def _bin_names(edges: np.ndarray, whole: bool) -> list[str]:
    texts = [_text(int(edge) if whole else float(edge)) for edge in edges]
    if not texts:
        return ["any"]
    names = [f"up to {texts[0]}"]
    for low, high in zip(range(len(texts) - 1), texts[1:], strict=True):
        if whole:
            first, last = int(edges[low]) + 1, int(edges[low + 1])
            names.append(str(first) if first == last else f"{first} to {last}")
        else:
            names.append(f"{texts[low]} to {high}")
    return [*names, f"over {texts[-1]}"]


def _with_missing(name: str, values: list[str], codes: np.ndarray) -> Categorical:
    if (codes < 0).any():
        codes = np.where(codes < 0, len(values), codes)
        values = [*values, MISSING]
    return Categorical(name, tuple(values), codes)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bytes):
        return value.hex()
    return str(value)
