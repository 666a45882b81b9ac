"""An order of examples that does not depend on the order they came in."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, UInt64

from weakspot.methods.distributed import ALONE, World

_ROWS = 65_536  # hashed at a time


def order_of(
    embeddings: Float[np.ndarray, "n D"],
    losses: Float[np.ndarray, " n"],
    counts: Float[np.ndarray, " n"],
    world: World = ALONE,
) -> Int[np.ndarray, " N"]:
    """An order that follows from what rows hold, so that permuted rows give the same sums to the last bit.

    By loss, then count, then a hash of the embedding; of the rows of all processes.
    """
    hashes = world.gather(hashes_of(embeddings).view(np.int64)).view(np.uint64)
    return np.lexsort((hashes, world.gather(counts), world.gather(losses)))


def hashes_of(embeddings: Float[np.ndarray, "n D"]) -> UInt64[np.ndarray, " n"]:
    """A hash of every row, in integers that no summation order can change; equal rows have equal ones."""
    bits = np.dtype(f"u{embeddings.dtype.itemsize}")
    odd = np.random.default_rng(0).integers(1 << 63, size=embeddings.shape[1], dtype=np.uint64) * 2 + 1
    hashes = np.empty(len(embeddings), dtype=np.uint64)
    for start in range(0, len(embeddings), _ROWS):
        block = np.ascontiguousarray(embeddings[start : start + _ROWS]).view(bits)
        hashes[start : start + _ROWS] = (block * odd).sum(axis=1, dtype=np.uint64)
    return hashes
