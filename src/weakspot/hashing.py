"""Numbers that depend on a text alone: never on a seed, the order of rows, or the machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float


def id_hashes(ids: Iterable[str], purpose: str) -> Float[np.ndarray, " n"]:
    """A number in [0, 1) for each id; as good as random, and unrelated between two purposes."""
    digests = (hashlib.sha256(f"{purpose}/{text}".encode()).digest()[:8] for text in ids)
    return np.frombuffer(b"".join(digests), dtype=">u8") / 2.0**64
