"""Memory maps of safetensors files; the library's own NumPy reader copies every array and cannot stream.

The format is 8 bytes of little-endian header length, a JSON header, then the arrays end to end.
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

from weakspot.predictions.reading import reading

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
_LONGEST_HEADER = 100_000_000  # the library's own limit: a crafted length must not exhaust the memory


def create_arrays(
    path: Path, shapes: Mapping[str, tuple[np.dtype, tuple[int, ...]]]
) -> dict[str, np.ndarray]:
    """Create a file of zeros for arrays of these dtypes and shapes, and map them for writing.

    All blocks are reserved at once, because a write to a map whose file lacks blocks kills the process.

    Args:
        path: The file.
        shapes: The dtype and shape of each array, by name.

    Returns:
        The maps by name.

    Raises:
        OSError: The disk has no room.
    """
    header, end = {}, 0
    for name, (dtype, shape) in shapes.items():
        start, end = end, end + prod(shape) * dtype.itemsize
        header[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # aligned, so that the maps are aligned too
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
    """Reserve the blocks of `size` bytes from `start`, if the system and the file system support it."""
    if size == 0 or not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file, start, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise


def flush(maps: Mapping[str, np.ndarray]) -> None:
    """Write the changes in maps from `create_arrays` to their file."""
    for array in maps.values():
        if isinstance(array, np.memmap):
            array.flush()


def open_arrays(path: Path, mode: str = "r") -> dict[str, np.ndarray]:
    """Map every array of a safetensors file; an array is read only when it is used.

    Args:
        path: The file.
        mode: NumPy's mode of the maps, "r" or "r+".

    Raises:
        DamagedError: The header is not valid, or does not fit the file; the error names the file and the array.
    """
    with reading(path), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        (length,) = struct.unpack("<Q", file.read(8))
        if length > min(size - 8, _LONGEST_HEADER):
            raise ValueError("its header is longer than the file")
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
    base = 8 + length
    arrays = {}
    for name, entry in header.items():
        with reading(path, name):
            dtype, shape = np.dtype(_DTYPES[entry["dtype"]]), tuple(entry["shape"])
            start, end = entry["data_offsets"]
            if not all(type(number) is int and number >= 0 for number in (start, end, *shape)):
                raise ValueError(f"its offsets are {start}…{end} and its shape is {shape}")
            if not start <= end <= size - base or end - start != prod(shape) * dtype.itemsize:
                raise ValueError("it does not fit the file; was it cut short?")
            arrays[name] = (
                np.memmap(path, dtype, mode, base + start, shape)  # type: ignore[call-overload]
                if end > start
                else np.zeros(shape, dtype)
            )
    return arrays
