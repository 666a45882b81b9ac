"""Attributes as categories, whose values describe groups of examples."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int, Shaped

from weakspot.legible import shortened
from weakspot.predictions.calendar import CALENDAR, finest_unit

MISSING = "(missing)"
"""The value that stands for null and NaN only."""

_MOST_LISTED = 20  # names in a message about an unknown name that resembles none of them
_DISTINCT_NUMBERS = 20  # more distinct numbers than this are grouped by quantiles
_DISTINCT_TIMES = 24  # more distinct days than this are grouped by week, more weeks by month, and so on
_BINS = 5
_REPEATS = 5  # expected repeats among measured numbers, so the probability of none is below exp(-5)
_IDENTIFIER_NAME = re.compile(
    r"(?:^|[^A-Za-z])(?i:id|ids|idx|index|uuid|guid|key|hash|row)$|[a-z](?:Id|ID|Idx|Index|Key|Hash)$"
)
_DURATIONS = {"d": 86_400, "h": 3600, "min": 60, "s": 1, "ms": 1e-3, "µs": 1e-6}
_PERIODS = {f"{unit.size}{unit.code}": unit for unit in CALENDAR}


def check_attributes(setting: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Check that the attributes that a setting names exist.

    Raises:
        ValueError: An attribute does not exist; the message suggests similar names.
    """
    for name in names:
        if name in known:
            continue
        raise ValueError(f"{setting}: there is no attribute {name!r}{suggest_names(name, known)}")


def suggest_names(name: str, known: Sequence[str]) -> str:
    """Return the end of a message about an unknown name: similar names, or else the names that exist."""
    near = get_close_matches(name, known, n=3)
    if near:
        return f". Did you mean {' or '.join(near)}?"
    listed = [*known[:_MOST_LISTED], *(["…"] if len(known) > _MOST_LISTED else [])]
    return f"; there are: {', '.join(listed) or 'none'}"


@dataclass(frozen=True)
class AttributeValue:
    """Describes one value of an attribute, so that it can be found in any table.

    Attributes:
        attribute: The name of the column.
        text: The value as it is shown.
        unit: For a range, the unit of its bounds: a unit of duration or of the calendar, "" for plain numbers. None for
            a single value.
        above: For a range, its lower bound (exclusive); None without one.
        upto: For a range, its upper bound (inclusive); None without one.
    """

    attribute: str
    text: str
    unit: str | None = None
    above: float | None = None
    upto: float | None = None

    def matches(self, attributes: pa.Table) -> Bool[np.ndarray, " n"]:
        """Return which rows of a table have the value.

        Raises:
            ValueError: The table lacks the column, or the column is of another type.
        """
        if self.attribute not in attributes.column_names:
            instead = suggest_names(self.attribute, attributes.column_names)
            raise ValueError(f"there is no attribute {self.attribute!r} here{instead}")
        column = _plain(attributes.column(self.attribute))
        if self.text == MISSING:
            return np.asarray(column.is_null(nan_is_null=True).to_numpy(), dtype=bool)
        try:
            if self.unit is None:
                listed = _list_values(self.attribute, column)
                return np.isin(listed.codes, [i for i, name in enumerate(listed.values) if name == self.text])
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
    """Holds an attribute as a list of readable values and one code per row.

    Attributes:
        name: The name of the column.
        values: The values as they are shown.
        codes: The index of each row's value, (n,).
        unit: The unit of the ranges' bounds; None if the values are not ranges.
        ranges: The bounds of each value that is a range, (lower, upper].
    """

    name: str
    values: tuple[str, ...]
    codes: Int[np.ndarray, " n"]
    unit: str | None = None
    ranges: tuple[tuple[float | None, float | None], ...] = ()

    def value(self, code: int) -> AttributeValue:
        """Return the value of a code in a form that can be found in any table."""
        if code >= len(self.ranges):
            return AttributeValue(self.name, self.values[code])
        return AttributeValue(self.name, self.values[code], self.unit, *self.ranges[code])


def categorise(attributes: pa.Table, max_values: int | None = None) -> list[Categorical]:
    """Return the columns of a table that can describe a group, each as readable values and codes.

    Numbers with more than 20 distinct values become quintiles with round edges. Dates and times become the hours, days,
    weeks, months, quarters or years that make at most 24 values; durations become quintiles. `omitted_columns` lists
    the columns that are left out.

    Args:
        attributes: Plain columns (`predictions.plain_columns`).
        max_values: Columns with more values are left out.
    """
    results = (
        _categories_or_reason(name, attributes.column(name), max_values) for name in attributes.column_names
    )
    return [column for column in results if isinstance(column, Categorical)]


def omitted_columns(attributes: pa.Table, max_values: int | None = None) -> list[tuple[str, str]]:
    """Return the columns that `categorise` leaves out, each with the reason as a clause ("it has one value only").

    These are columns whose values distinguish rows instead of grouping them (identifiers, file names, captions), and
    columns with a single value or none.
    """
    results = (
        (name, _categories_or_reason(name, attributes.column(name), max_values))
        for name in attributes.column_names
    )
    return [(name, reason) for name, reason in results if isinstance(reason, str)]


def _categories_or_reason(name: str, column: pa.ChunkedArray, max_values: int | None) -> Categorical | str:
    result = _categorical(name, column)
    if isinstance(result, Categorical) and len(result.values) < 2:
        return "it has one value only"
    if isinstance(result, Categorical) and max_values is not None and len(result.values) > max_values:
        return f"it has more than {max_values} values"
    return result


def _categorical(name: str, column: pa.ChunkedArray) -> Categorical | str:
    """Return the column as codes, or the reason why it cannot describe a group."""
    kind = column.type
    if pa.types.is_nested(kind):
        return "it holds lists or records, not single values"
    column = _plain(column)
    kind = column.type
    if column.null_count == len(column):
        return "it has no values"
    distinct = len(column.drop_null().unique())
    mostly_unique = distinct > 2 and distinct > len(column) / 2
    many = mostly_unique or distinct > _DISTINCT_NUMBERS
    if pa.types.is_floating(kind):
        return _bin_numbers(name, column) if distinct > _DISTINCT_NUMBERS else _list_values(name, column)
    if pa.types.is_integer(kind):
        if mostly_unique and (reason := _why_identifier(name, column, distinct)):
            return reason
        return _bin_numbers(name, column) if many else _list_values(name, column)
    if pa.types.is_duration(kind):
        return _bin_durations(name, column) if many else _list_values(name, column)
    if pa.types.is_temporal(kind):
        return _by_time(name, column)
    if mostly_unique:
        return "it has a different value in more than half of the rows, like identifiers, file names and captions"
    return _list_values(name, column)


def _why_identifier(name: str, column: pa.ChunkedArray, distinct: int) -> str | None:
    """Return why mostly distinct whole numbers are taken for identifiers, or None if they are taken for measurements.

    They are identifiers if the column's name says so, or if no two are equal although they lie so close together that
    measurements would repeat by chance: among n uniform numbers with S possible values about n² / 2S pairs are equal,
    and more under other distributions.
    """
    if _IDENTIFIER_NAME.search(name):
        return "it identifies rows, as its name says, and has a different value in more than half of them"
    ends = pc.min_max(column).as_py()
    spread = ends["max"] - ends["min"] + 1
    few = distinct <= _DISTINCT_NUMBERS
    unique = distinct == len(column) - column.null_count and distinct**2 > 2 * spread * _REPEATS
    return "it numbers the rows: hardly any two have the same value" if few or unique else None


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Replace an unordered dictionary by its values, and decimals by floats."""
    kind = column.type
    if pa.types.is_dictionary(kind) and not kind.ordered:
        column = column.cast(kind.value_type)
    return column.cast(pa.float64()) if pa.types.is_decimal(column.type) else column


def _list_values(name: str, column: pa.ChunkedArray) -> Categorical:
    """Return every value as a category, sorted, so that the order of rows does not matter."""
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    if pa.types.is_dictionary(column.type):
        return _in_given_order(name, column)
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    values = encoded.dictionary
    order = pc.sort_indices(values).to_numpy()
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    names = [_text(value) for value in values.take(pa.array(order)).to_pylist()]
    return _with_missing(name, names, np.where(codes >= 0, np.append(rank, 0)[codes], -1))


def _in_given_order(name: str, column: pa.ChunkedArray) -> Categorical:
    """Return those values of an ordered dictionary that occur, in its order."""
    array = column.unify_dictionaries().combine_chunks()
    codes = array.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    used = np.unique(codes[codes >= 0])
    names = [_text(value) for value in array.dictionary.take(pa.array(used)).to_pylist()]
    return _with_missing(name, names, np.where(codes >= 0, np.searchsorted(used, codes), -1))


def _bin_numbers(name: str, column: pa.ChunkedArray) -> Categorical:
    return _quintiles(name, _numbers(column, ""), "", pa.types.is_integer(column.type))


def _bin_durations(name: str, column: pa.ChunkedArray) -> Categorical:
    """Return quintiles in the largest unit that half of the durations reach."""
    typical = float(np.nanmedian(np.abs(_numbers(column, "s"))))
    unit = next((unit for unit, size in _DURATIONS.items() if size <= typical), "µs")
    return _quintiles(name, _numbers(column, unit), unit, integers=False)


def _quintiles(name: str, numbers: Float[np.ndarray, " n"], unit: str, integers: bool) -> Categorical:
    edges = _edges(numbers[np.isfinite(numbers)], integers)
    codes = np.searchsorted(edges, numbers, side="left")  # bin j: edges[j-1] < x ≤ edges[j]
    names = [f"{text} {unit}".strip() for text in _bin_names(edges, integers)]
    bounds = [None, *edges.tolist(), None]
    categories = _with_missing(name, names, np.where(np.isnan(numbers), -1, codes))
    return replace(categories, unit=unit, ranges=tuple(pairwise(bounds)))


def _by_time(name: str, column: pa.ChunkedArray) -> Categorical:
    """Group by the finest unit of the calendar or the clock that gives few values, each with several rows."""
    known = column.is_valid().to_numpy()
    clock = pa.types.is_time(column.type)
    moments = _moments(column)
    unit = finest_unit(moments[known], min(_DISTINCT_TIMES, max(len(column) // 2, 2)))
    numbers = unit.number(moments)
    used = np.unique(numbers[known])
    names = [unit.name(int(number), clock) for number in used]
    categories = _with_missing(name, names, np.where(known, np.searchsorted(used, numbers), -1))
    ranges = tuple((float(number - 1), float(number)) for number in used)
    return replace(categories, unit=f"{unit.size}{unit.code}", ranges=ranges)


def _moments(column: pa.ChunkedArray) -> Shaped[np.ndarray, " n"]:
    """Return times as datetime64 in microseconds; times of day lie on the first day of 1970."""
    kind = pa.time64("us") if pa.types.is_time(column.type) else pa.timestamp("us")
    microseconds = column.cast(kind, safe=False).cast(pa.int64())
    return np.asarray(microseconds.fill_null(0).to_numpy().astype("datetime64[us]"))


def _numbers(column: pa.ChunkedArray, unit: str) -> Float[np.ndarray, " n"]:
    """Return a column's numbers in a unit of `Categorical.unit`, with NaN for missing values."""
    if unit in _PERIODS:
        return np.where(column.is_valid().to_numpy(), _PERIODS[unit].number(_moments(column)), np.nan)
    if unit in _DURATIONS:
        microseconds = column.cast(pa.duration("us"), safe=False).cast(pa.int64()).cast(pa.float64())
        return np.asarray(microseconds.to_numpy() / 1e6 / _DURATIONS[unit])
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy())


def _edges(numbers: np.ndarray, integers: bool) -> np.ndarray:
    """Return the inner quantiles, rounded but still distinct, so that names are exact and short."""
    quantiles = np.quantile(numbers, np.arange(1, _BINS) / _BINS)
    if integers:
        edges = np.unique(np.floor(quantiles))
    else:
        spread = float(quantiles[-1] - quantiles[0]) or float(np.ptp(numbers)) or 1.0
        edges = np.unique(np.round(quantiles, 2 - math.floor(math.log10(spread))))
    inner: np.ndarray = edges[edges < numbers.max()]
    return inner


def _bin_names(edges: np.ndarray, integers: bool) -> list[str]:
    texts = [_text(int(edge) if integers else float(edge)) for edge in edges]
    if not texts:
        return ["any"]
    names = [f"up to {texts[0]}"]
    for low, high in zip(range(len(texts) - 1), texts[1:], strict=True):
        if integers:
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
    return shortened(value.hex() if isinstance(value, bytes) else str(value))
