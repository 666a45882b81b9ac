"""Attributes as they come in: anyone's columns as one Arrow table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

RESERVED = ("id", "label", "prediction", "correct", "loss", "count")
"""Column names of the record itself; an attribute cannot take one of them."""


def attribute_table(attributes: Any, n: int) -> pa.Table:
    if attributes is None:
        return pa.table({})
    if isinstance(attributes, Mapping):
        columns = [(str(name), column) for name, column in attributes.items()]
    else:
        given = attributes if isinstance(attributes, pa.Table) else _frame(attributes)
        columns = list(zip(given.column_names, given.columns, strict=True))
    names = [name for name, _ in columns]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"there are two attributes {twice!r}; rename or leave out one of them")
    made = [_attribute(name, column) for name, column in columns]
    for name, column in zip(names, made, strict=True):
        if len(column) != n:
            raise ValueError(f"attributes have {len(column)} rows in {name!r} but embeddings have {n}")
    table = pa.table(made, names=names)
    taken = [name for name in table.column_names if name in RESERVED]
    if taken:
        raise ValueError(f"attribute {taken[0]!r} has a name the record keeps for itself; rename that column")
    return table


def _frame(attributes: Any) -> pa.Table:
    try:
        return pa.Table.from_pandas(attributes, preserve_index=False)
    except (pa.ArrowException, AttributeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"attributes must be a mapping, a pyarrow table or a pandas frame of plain values: {reason}"
        ) from error


def _attribute(name: str, column: Any) -> pa.Array | pa.ChunkedArray:
    """A column as Arrow keeps it; bytes as text, and half floats, which Parquet's readers lack, as float32."""
    try:
        if not isinstance(column, (pa.Array, pa.ChunkedArray)):
            column = pa.array(np.asarray(column))
        if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
            column = column.cast(pa.string())
        if pa.types.is_float16(column.type):
            column = column.cast(pa.float32())
    except (pa.ArrowException, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"attribute {name!r} cannot be kept: {reason}") from error
    return column
