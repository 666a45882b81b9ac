"""Attributes as categories: what groups of examples are described by."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int

MISSING = "(missing)"
"""The value that stands for null, NaN and nothing else."""

_DISTINCT_NUMBERS = 20  # more distinct numbers than this are told apart by quantile, not one by one
_BINS = 5


@dataclass(frozen=True, eq=False)
class Categorical:
    """An attribute as a code per row into readable values."""

    name: str
    values: tuple[str, ...]
    codes: Int[np.ndarray, " n"]


def categorise(attributes: pa.Table, most: int | None = None) -> list[Categorical]:
    """The columns of a table that can describe a group, each as codes into readable values.

    Numbers with more than 20 distinct values become quintiles with round edges. Left out are columns that
    tell rows apart rather than join them: a text or integer column with a value of its own in more than half
    of its rows (identifiers, file names, captions), a constant one, and nested ones; with `most`,
    those of more values than that.
    """
    columns = (_categorical(name, attributes.column(name)) for name in attributes.column_names)
    return [
        column for column in columns if column is not None and (most is None or len(column.values) <= most)
    ]


def _categorical(name: str, column: pa.ChunkedArray) -> Categorical | None:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_nested(kind) or pa.types.is_null(kind):
        return None
    if pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
        kind = column.type
    distinct = pc.count_distinct(column).as_py()
    if distinct < 2 and column.null_count == 0:
        return None
    if not pa.types.is_floating(kind) and 2 < distinct > column.length() / 2:
        return None
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if numeric and distinct > _DISTINCT_NUMBERS:
        return _binned(name, column)
    return _listed(name, column)


def _listed(name: str, column: pa.ChunkedArray) -> Categorical:
    """Every value for itself, in the values' own order, so that the order of rows changes nothing."""
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
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


def _binned(name: str, column: pa.ChunkedArray) -> Categorical:
    numbers = column.cast(pa.float64(), safe=False).to_numpy()
    known = ~np.isnan(numbers)
    whole = pa.types.is_integer(column.type)
    edges = _edges(numbers[np.isfinite(numbers)], whole)
    codes = np.where(
        known, np.searchsorted(edges, numbers, side="left"), -1
    )  # bin j: edges[j-1] < x ≤ edges[j]
    return _with_missing(name, _bin_names(edges, whole), codes)


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
