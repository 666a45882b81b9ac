"""Copies of memory-mapped arrays: a large copy goes to a temporary file instead of memory."""

from __future__ import annotations

import errno
import mmap
from collections.abc import Iterable
from math import prod
from tempfile import TemporaryFile, gettempdir

import numpy as np
from jaxtyping import Bool, Int, Shaped
from numpy.typing import DTypeLike

LARGE = 2**30  # bytes; smaller copies are kept in memory
_ROWS = 8192  # copied at a time
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_mapped(x: np.ndarray) -> bool:
    """Return whether an array is mapped from a file, so that the system may drop its pages from memory."""
    base: object = x
    # not by its class: the result of arithmetic on a mapped array is a memmap too, but lies in memory
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, mmap.mmap)


def copy_blocks(
    source: np.ndarray, blocks: Iterable[np.ndarray], shape: tuple[int, ...], dtype: DTypeLike
) -> np.ndarray:
    """Return blocks of rows as one array, mapped from a temporary file if it is large and `source` is mapped.

    The file has no name and disappears with the array. It lies in the folder that TMPDIR names.

    Args:
        source: The array that the blocks come from.
        blocks: Blocks of rows, in order.
        shape: The shape of all blocks together.
        dtype: The dtype of the copy.

    Raises:
        OSError: The folder has no room for the copy.
    """
    size = prod(shape) * np.dtype(dtype).itemsize
    if size <= LARGE or not is_mapped(source):
        copy, start = np.empty(shape, dtype), 0
        for block in blocks:
            copy[start : start + len(block)] = block
            start += len(block)
        return copy
    try:
        with TemporaryFile() as file:
            for block in blocks:
                file.write(np.ascontiguousarray(block, dtype).data)
            file.flush()
            # writable for torch, and shared with the file: Linux counts all of a private map as memory
            return np.asarray(np.memmap(file, dtype, "r+", shape=shape))
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise OSError(
            f"{gettempdir()} has no room for a copy of {size / 2**30:.1f} GiB ({error.strerror}); set TMPDIR to a "
            "folder that has room"
        ) from error


def take_rows(
    x: Shaped[np.ndarray, "n d"], rows: Int[np.ndarray, " m"] | Bool[np.ndarray, " n"]
) -> np.ndarray:
    """Return `x[rows]`, copied by `copy_blocks`."""
    rows = np.flatnonzero(rows) if rows.dtype == bool else rows
    blocks = (x[rows[start : start + _ROWS]] for start in range(0, len(rows), _ROWS))
    return copy_blocks(x, blocks, (len(rows), *x.shape[1:]), x.dtype)


def as_float32(x: Shaped[np.ndarray, "n d"]) -> np.ndarray:
    """Return half precision, which compiled code cannot use, as float32 (`copy_blocks`); others are unchanged."""
    if x.dtype != np.float16:
        return x
    return copy_blocks(
        x, (x[start : start + _ROWS] for start in range(0, len(x), _ROWS)), x.shape, np.float32
    )
