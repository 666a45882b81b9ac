"""A reader for NumPy's archives that unpickles nothing and does not trust the sizes that a file announces."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from weakspot.predictions.reading import DamagedError, reading

_ENDING = ".npy"
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_KINDS = "biufSUmM"
_MOST_EXPANDED = 256 << 20  # bytes that any archive may hold
# A larger one may hold this many times its own size: numbers seldom shrink to less than a tenth.
_EXPANSION = 100


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an archive by their keys, in this machine's byte order, bytes as texts.

    Raises:
        DamagedError: The file is not an archive, a key cannot be read, or it announces another size than it has.
    """
    arrays: dict[str, np.ndarray] = {}
    if not zipfile.is_zipfile(path):
        raise DamagedError(
            f"{path}: this is not a .npz archive, or it is cut short; "
            "make one with numpy.savez(file, embeddings=…, losses=…)"
        )
    with reading(path), zipfile.ZipFile(path) as archive:
        size, expanded = path.stat().st_size, sum(entry.file_size for entry in archive.infolist())
        if expanded > max(_MOST_EXPANDED, _EXPANSION * size):
            raise ValueError(
                f"its {size} bytes announce {expanded}; if that is right, save it uncompressed (numpy.savez)"
            )
        for entry in archive.infolist():
            key = entry.filename.removesuffix(_ENDING)
            with reading(path, key):
                if key in arrays:
                    raise ValueError("it occurs twice")
                arrays[key] = decode_array(_array(archive, entry))
    return arrays


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    if not entry.filename.endswith(_ENDING):
        raise ValueError("it is not an array")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("it is compressed by a method that NumPy does not use")
    with archive.open(entry) as file:
        version = npy.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"its version {version} is unknown")
        shape, _, dtype = _HEADERS[version](file)
        actual = entry.file_size - file.tell()
    if dtype.hasobject:
        raise ValueError("it holds Python objects; save texts with array.astype(str)")
    if dtype.kind not in _KINDS or (dtype.itemsize == 0 and math.prod(shape) > 0):
        raise ValueError(f"it holds neither numbers nor texts but {dtype}")
    if math.prod(shape) * dtype.itemsize != actual:
        raise ValueError(f"it announces {dtype} of shape {shape}, but holds {actual} bytes")
    with archive.open(entry) as file:
        return np.asarray(npy.read_array(file, allow_pickle=False))


def decode_array(array: np.ndarray) -> np.ndarray:
    """Return an array from a file in this machine's byte order, with bytes as texts.

    Raises:
        ValueError: Texts hold invalid characters.
    """
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    if array.dtype.kind == "U":
        codes = np.ascontiguousarray(array).reshape(-1).view(np.uint32)
        if ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes <= 0xDFFF))).any():
            raise ValueError("it holds invalid characters")
    return array
