"""Hashes of ids: numbers that depend only on a text, and not on a seed, the order of rows, or the machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, Int


def id_hashes(ids: Iterable[str], purpose: str) -> Float[np.ndarray, " n"]:
    """Return a pseudo-random number in [0, 1) for each id, (n,).

    Args:
        ids: The ids.
        purpose: A text that is hashed with each id, so that two purposes have independent numbers.
    """
    digests = (hashlib.sha256(f"{purpose}/{text}".encode()).digest()[:8] for text in ids)
    return np.frombuffer(b"".join(digests), dtype=">u8") / 2.0**64


def sample_rows(hashes: Float[np.ndarray, " n"], most: int) -> Int[np.ndarray, " m"]:
    """Return the rows (m,) with the lowest hashes, in ascending order; all rows, if there are at most `most`."""
    if len(hashes) <= most:
        return np.arange(len(hashes))
    return np.sort(np.argpartition(hashes, most)[:most])
