"""The idx files of MNIST and Fashion-MNIST."""

from __future__ import annotations

import gzip
import zlib
from math import prod
from pathlib import Path

import numpy as np
from jaxtyping import UInt8


def read_idx(path: Path, dims: int) -> UInt8[np.ndarray, "n ..."]:
    """Read an array of bytes from an idx file, gzipped if its name ends in .gz.

    The format is two zero bytes, 8 for bytes, and the number of dimensions; then each dimension as a big-endian
    32-bit integer; then the values.

    Args:
        path: The file.
        dims: How many dimensions it must have.

    Raises:
        ValueError: If the file has another format or is cut short.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be unpacked ({error}); fetch it again") from error
    start = 4 + 4 * dims
    if data[:4] != bytes((0, 0, 8, dims)) or len(data) < start:
        raise ValueError(f"{path} is not an idx file of bytes in {dims} dimension{'s' * (dims > 1)}")
    shape = tuple(np.frombuffer(data, ">u4", dims, 4).tolist())
    if len(data) - start != prod(shape):
        raise ValueError(
            f"{path} should hold {prod(shape)} values but holds {len(data) - start}; fetch it again"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
