"""Hashes of rows of numbers, for finding the same examples in two records."""

from __future__ import annotations

import numpy as np
from jaxtyping import Shaped, UInt64

_BLOCK = 1 << 20  # numbers hashed at a time


def hash_rows(values: Shaped[np.ndarray, "n d"], seed: int) -> UInt64[np.ndarray, " n"]:
    """Return a hash of each row in single precision, (n,): the bits times random odd factors, summed modulo 2⁶⁴."""
    halves = np.random.default_rng(seed).integers(0, 1 << 63, values.shape[1], dtype=np.uint64)
    odd = 2 * halves + np.uint64(1)
    keys = np.empty(len(values), dtype=np.uint64)
    rows = max(1, _BLOCK // max(1, values.shape[1]))
    for start in range(0, len(values), rows):
        with np.errstate(over="ignore"):  # float64 values beyond single precision
            block = np.ascontiguousarray(values[start : start + rows], dtype=np.float32)
            block = block + np.float32(0)  # −0 becomes 0
        keys[start : start + rows] = (block.view(np.uint32) * odd).sum(axis=1, dtype=np.uint64)
    return keys
