"""An order of examples that does not depend on the order they came in."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, UInt64

from weakspot.methods.distributed import SINGLE_PROCESS, ProcessGroup

_ROWS = 65_536  # hashed at a time


def canonical_order(
    embeddings: Float[np.ndarray, "n D"],
    losses: Float[np.ndarray, " n"],
    counts: Float[np.ndarray, " n"],
    processes: ProcessGroup = SINGLE_PROCESS,
) -> Int[np.ndarray, " N"]:
    """Sort examples by loss, then count, then a hash of the embedding.

    The order depends only on the rows' contents, so permuted rows give the same sums to the last bit.

    Args:
        embeddings: (n, D) of the examples that this process holds.
        losses: (n,) of these examples.
        counts: (n,) of these examples.
        processes: The processes.

    Returns:
        (N,) the indices of all processes' rows, in that order.
    """
    hashes = processes.gather(row_hashes(embeddings).view(np.int64)).view(np.uint64)
    return np.lexsort((hashes, processes.gather(counts), processes.gather(losses)))


def row_hashes(embeddings: Float[np.ndarray, "n D"]) -> UInt64[np.ndarray, " n"]:
    """Hash every row in integers, whose sum does not depend on its order; equal rows have equal hashes."""
    bits = np.dtype(f"u{embeddings.dtype.itemsize}")
    odd = np.random.default_rng(0).integers(1 << 63, size=embeddings.shape[1], dtype=np.uint64) * 2 + 1
    hashes = np.empty(len(embeddings), dtype=np.uint64)
    for start in range(0, len(embeddings), _ROWS):
        block = np.ascontiguousarray(embeddings[start : start + _ROWS]).view(bits)
        hashes[start : start + _ROWS] = (block * odd).sum(axis=1, dtype=np.uint64)
    return hashes
