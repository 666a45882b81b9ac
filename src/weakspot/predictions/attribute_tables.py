"""Conversion of a user's attributes, in whatever form they are given, to one Arrow table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa

from weakspot.predictions.plain_columns import first_repeated, plain_table
from weakspot.predictions.validation import as_array

RESERVED_NAMES = ("id", "label", "prediction", "correct", "loss", "count")
"""Names of the record's own columns, which attributes cannot have."""


def attribute_table(attributes: Any, n: int) -> pa.Table:
    """Return attributes of `n` rows as a table of plain columns (`predictions.plain_columns`).

    Args:
        attributes: A mapping of columns, a frame (pandas, Polars), an Arrow table, or None.
        n: How many rows there must be.

    Raises:
        ValueError: A column cannot be kept, has another length, or has a reserved name or that of another column.
    """
    if attributes is None:
        return pa.table({})
    columns = list(_columns(attributes))
    names = [name for name, _ in columns]
    if (twice := first_repeated(names)) is not None:
        raise ValueError(f"there are two attributes {twice!r}; rename or leave out one of them")
    arrow_columns = [_attribute(name, column) for name, column in columns]
    for name, column in zip(names, arrow_columns, strict=True):
        if len(column) != n:
            raise ValueError(f"attributes have {len(column)} rows in {name!r} but embeddings have {n}")
    table, left_out = plain_table(pa.table(arrow_columns, names=names))
    for name, reason in left_out.items():
        raise ValueError(f"attribute {name!r} cannot be kept: {reason}")
    taken = [name for name in table.column_names if name in RESERVED_NAMES]
    if taken:
        raise ValueError(f"attribute {taken[0]!r} has a reserved name; rename that column")
    return table


def _columns(attributes: Any) -> Iterator[tuple[str, Any]]:
    """Yield names and columns of a mapping, a frame or a table."""
    if isinstance(attributes, Mapping):
        yield from ((str(name), column) for name, column in attributes.items())
    elif hasattr(attributes, "iloc") and hasattr(attributes, "columns"):
        # a pandas frame, whose column names may repeat
        yield from ((str(name), attributes.iloc[:, j]) for j, name in enumerate(attributes.columns))
    else:
        try:
            given = pa.table(attributes)
        except (pa.ArrowException, AttributeError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(
                f"attributes must be a mapping of columns, a pandas or Polars frame or a pyarrow table: {reason}"
            ) from error
        yield from zip(given.column_names, given.columns, strict=True)


def _attribute(name: str, column: Any) -> pa.ChunkedArray:
    """Return a column as an Arrow array; values of mixed types, such as numbers and texts, become texts."""
    try:
        array = column if isinstance(column, (pa.Array, pa.ChunkedArray)) else _from_anything(name, column)
    except (pa.ArrowException, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"attribute {name!r} cannot be kept: {reason}") from error
    return array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])


def _from_anything(name: str, column: Any) -> pa.Array | pa.ChunkedArray:
    with suppress(pa.ArrowException, TypeError):  # what Arrow cannot convert may still be an array of objects
        if hasattr(column, "iloc") or isinstance(column, list | tuple):
            return pa.array(column, from_pandas=True)
        if hasattr(column, "__arrow_c_stream__"):
            return pa.chunked_array(column)
    if isinstance(column, np.ma.MaskedArray):
        return pa.array(column.data, mask=np.ma.getmaskarray(column))
    array = as_array(name, column)
    if array.ndim != 1:
        raise ValueError(f"it has shape {array.shape}, and an attribute has one value for each row")
    if array.dtype.kind in "mM" and np.datetime_data(array.dtype)[0] in "YMWhm":  # units that Arrow lacks
        days = array.dtype.kind == "M" and np.datetime_data(array.dtype)[0] in "YMW"
        array = array.astype(
            f"{'datetime' if array.dtype.kind == 'M' else 'timedelta'}64[{'D' if days else 's'}]"
        )
    if array.dtype.kind != "O":
        return pa.array(array)
    try:
        return pa.array(array, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if _is_missing(value) else str(value) for value in array], pa.string())


def _is_missing(value: Any) -> bool:
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value is np.nan
