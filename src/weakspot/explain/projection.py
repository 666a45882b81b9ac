"""Projects embeddings onto their first two principal components."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Num

_MOST_ROWS = 100_000  # that the axes are taken from
_MOST_VALUES = 1 << 28  # and of very wide embeddings fewer, so that these fill 1 GiB at most
_BLOCK = 1 << 24  # values that are placed at a time


def projection(embeddings: Num[np.ndarray, "n d"], seed: int = 0) -> Float[np.ndarray, "n 2"]:
    """Compute the first two principal components of every example: the plane in which embeddings vary most.

    The axes are taken from a sample of at most 100 000 examples, in which all are then placed, block by block:
    embeddings may be mapped from a file larger than memory. The largest coefficient of an axis is positive, so that a
    map does not come out mirrored another time.

    Args:
        embeddings: (n, d), of any scale.
        seed: Of the sample.

    Returns:
        (n, 2) coordinates, in the unit of the embeddings. Where these vary along one line only, or not at all, the
        second coordinate, or both, are 0.
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
    """The centre of a sample, and its axes, at most two."""
    from sklearn.decomposition import PCA

    n, d = embeddings.shape
    most = min(_MOST_ROWS, max(2, _MOST_VALUES // max(d, 1)))
    rows = np.arange(n) if n <= most else np.sort(np.random.default_rng(seed).choice(n, most, replace=False))
    sample = np.asarray(embeddings[rows], dtype=np.float64 if d * len(rows) <= _BLOCK else np.float32)
    centre = sample.mean(axis=0, dtype=np.float64)
    away = sample - centre.astype(sample.dtype)  # far from the origin, what float32 squares is lost
    if not away.any():
        return centre, np.empty((0, d))
    axes: np.ndarray = PCA(min(2, n, d), random_state=seed).fit(away).components_.astype(np.float64)
    largest = np.abs(axes).argmax(axis=1)
    return centre, axes * np.sign(axes[np.arange(len(axes)), largest])[:, None]
