"""Conversion of Arrow columns without empty rows to NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Shaped

_CHARACTERS = 100_000_000  # that any array of texts may have
_WIDER_THAN_MEAN = 10  # beyond that, the widest text may be this many times as wide as the mean


def text_array(column: pa.ChunkedArray) -> Shaped[np.ndarray, " n"]:
    """Return a column of texts as a fixed-width NumPy array, as wide as the longest text.

    Raises:
        ValueError: The column does not hold texts, a row is empty, or one text is so long that the array would fill
            the memory.
    """
    if not _is_text(column.type):
        raise ValueError(f"it must be text, not {column.type}")
    _check_filled(column)
    column = column.cast(pa.large_string())
    lengths = pc.utf8_length(column).to_numpy()
    widest = int(lengths.max(initial=0))
    if widest * len(lengths) > max(_CHARACTERS, _WIDER_THAN_MEAN * int(lengths.sum())):
        raise ValueError(f"row {int(lengths.argmax())} is a text of {widest} characters; shorten it")
    return np.asarray(column.to_numpy(), dtype=object).astype(str)


def value_array(column: pa.ChunkedArray) -> Shaped[np.ndarray, "n ..."] | pa.ChunkedArray:
    """Return a column of single values as an array (n,), and one of equally long lists as an array (n, d).

    An ordered dictionary stays an Arrow column, because its order is meaningful.

    Raises:
        ValueError: A row is empty, or lists differ in length.
    """
    _check_filled(column)
    if pa.types.is_dictionary(column.type):
        if column.type.ordered:
            return column.unify_dictionaries()
        column = column.cast(column.type.value_type)
    if _is_text(column.type):
        return text_array(column)
    if not isinstance(column.type, (pa.ListType, pa.LargeListType, pa.FixedSizeListType)):
        return np.asarray(column.to_numpy())
    lengths = pc.list_value_length(column).to_numpy()
    width = int(lengths[0]) if len(lengths) else 0
    if (lengths != width).any():
        row = int(np.argmax(lengths != width))
        raise ValueError(f"it has {lengths[row]} values in row {row}, but {width} in row 0")
    if not len(column):
        return np.zeros((0, width))
    flat = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return np.concatenate(flat).reshape(len(column), width)


def holds_encoded_images(kind: pa.DataType) -> bool:
    """Return whether values of this type are bytes, or `{bytes, path}` as Hugging Face writes images."""
    if pa.types.is_struct(kind) and "bytes" in [part.name for part in kind]:
        kind = kind.field("bytes").type
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _check_filled(column: pa.ChunkedArray) -> None:
    if column.null_count:
        row = pc.index(column.is_null(), True).as_py()
        raise ValueError(f"row {row} is empty; fill it in or leave out the row")
