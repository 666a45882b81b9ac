"""Projects embeddings onto their first two principal components."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Num

_MOST_ROWS = 100_000  # at most, that the axes are computed from
_MOST_VALUES = 1 << 28  # fewer rows if embeddings are very wide, so that they fill 1 GiB at most
_BLOCK = 1 << 24  # values that are placed at a time


def projection(embeddings: Num[np.ndarray, "n d"], seed: int = 0) -> Float[np.ndarray, "n 2"]:
    """Compute the first two principal components of every example: the plane in which embeddings vary most.

    The axes are computed from a sample of at most 100 000 examples. All examples are then placed block by block, so
    that embeddings may be mapped from a file larger than memory. The largest coefficient of an axis is positive, so
    that a map is not mirrored the next time.

    Args:
        embeddings: (n, d) of any scale.
        seed: The seed of the sample.

    Returns:
        (n, 2) coordinates, in the unit of the embeddings. If these vary along one line only, the second coordinate is
        0; if they do not vary, both are.
    """
    n, d = embeddings.shape
    coordinates = np.zeros((n, 2), dtype=np.float32)
    if n < 2:
        return coordinates
    centre, axes = _axes(embeddings, seed)
    step = max(1, _BLOCK // max(d, 1))
    for start in range(0, n, step):
        block = np.asarray(embeddings[start : start + step], dtype=np.float64) - centre
        coordinates[start : start + step, : len(axes)] = block @ axes.T
    return coordinates


def _axes(
    embeddings: Num[np.ndarray, "n d"], seed: int
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, "a d"]]:
    """Return the centre of a sample, and its axes, at most two."""
    from sklearn.decomposition import PCA

    n, d = embeddings.shape
    most = min(_MOST_ROWS, max(2, _MOST_VALUES // max(d, 1)))
    rows = np.arange(n) if n <= most else np.sort(np.random.default_rng(seed).choice(n, most, replace=False))
    sample = np.asarray(embeddings[rows], dtype=np.float64 if d * len(rows) <= _BLOCK else np.float32)
    centre = sample.mean(axis=0, dtype=np.float64)
    away = sample - centre.astype(sample.dtype)  # float32 loses squares far from the origin
    if not away.any():
        return centre, np.empty((0, d))
    axes: np.ndarray = PCA(min(2, n, d), random_state=seed).fit(away).components_.astype(np.float64)
    largest = np.abs(axes).argmax(axis=1)
    return centre, axes * np.sign(axes[np.arange(len(axes)), largest])[:, None]
