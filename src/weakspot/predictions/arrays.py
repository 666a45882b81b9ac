"""safetensors files as memory maps: the library's own NumPy reader copies every array, and it cannot stream.

Format: 8 bytes little-endian header length, a JSON header, then the arrays end to end.
"""

from __future__ import annotations

import errno
import json
import os
import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np

_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "I64": np.int64,
    "I32": np.int32,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}
_LONGEST_HEADER = 100_000_000  # the library's own bound: a crafted length must not allocate the machine


def create_arrays(
    path: Path, shapes: Mapping[str, tuple[np.dtype, tuple[int, ...]]]
) -> dict[str, np.ndarray]:
    """Make a file of zeros for arrays of these dtypes and shapes, and map them for writing.

    Raises OSError where the disk has no room: writing to a map of a file without its blocks kills the process.
    """
    header, end = {}, 0
    for name, (dtype, shape) in shapes.items():
        start, end = end, end + prod(shape) * dtype.itemsize
        header[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # aligned, so that the maps are
    try:
        with path.open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.truncate(8 + len(text) + end)
            _reserve(file.fileno(), 8 + len(text), end)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return open_arrays(path, mode="r+")


def _reserve(file: int, start: int, size: int) -> None:
    """Give `size` bytes from `start` their blocks, where the system and the file system can."""
    if size == 0 or not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file, start, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise


def open_arrays(path: Path, mode: str = "r") -> dict[str, np.ndarray]:
    """Map every array of a safetensors file; nothing is read until it is used.

    Raises ValueError, naming the file, where the header does not fit the file.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size - 8, _LONGEST_HEADER):
                raise ValueError("the header is longer than the file")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        base = 8 + length
        arrays = {}
        for name, entry in header.items():
            dtype, shape = np.dtype(_DTYPES[entry["dtype"]]), tuple(entry["shape"])
            start, end = entry["data_offsets"]
            if not 0 <= start <= end <= size - base or end - start != prod(shape) * dtype.itemsize:
                raise ValueError(f"array {name!r} does not fit the file; was it cut short?")
            arrays[name] = (
                np.memmap(path, dtype, mode, base + start, shape)  # type: ignore[call-overload]
                if end > start
                else np.zeros(shape, dtype)
            )
    except (struct.error, KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error
    return arrays
