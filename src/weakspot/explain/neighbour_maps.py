"""Two-dimensional maps that preserve neighbourhoods, by UMAP or PaCMAP (`pip install "weakspot[maps]"`)."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
from jaxtyping import Float, Num

_PACKAGES = {"umap": ("umap", "umap-learn"), "pacmap": ("pacmap", "pacmap")}  # the module and its package
_FITTED = 10_000  # rows; the others are placed among them
_NEAREST = 10  # fitted rows, by which another row is placed
_BLOCK = 1 << 14  # rows that are placed at a time

MIN_MAPPED_EXAMPLES = 32
"""The fewest examples from which these libraries make a useful map."""


def check_installed(kind: str) -> None:
    """Raise ImportError if the library of a map is missing.

    Args:
        kind: "umap" or "pacmap"; other kinds need no library.

    Raises:
        ImportError: If it is missing; the message has the command that installs it.
    """
    if kind in _PACKAGES and find_spec(_PACKAGES[kind][0]) is None:
        raise ImportError(
            f'report.map={kind} needs {_PACKAGES[kind][1]}, which is not installed: pip install "weakspot[maps]" '
            "(report.map=pca needs nothing)"
        )


def neighbour_map(embeddings: Num[np.ndarray, "n d"], kind: str, seed: int = 0) -> Float[np.ndarray, "n 2"]:
    """Map examples so that similar ones are neighbours; distances between groups, and their sizes, mean little.

    The map is fitted on a sample of at most 10 000 examples. Any other example is placed at the mean of its ten
    nearest ones in the sample, weighted by inverse distance.

    Args:
        embeddings: (n, d) of at least `MIN_MAPPED_EXAMPLES` examples.
        kind: "umap" or "pacmap".
        seed: The seed of the sample and of the library.

    Returns:
        (n, 2) coordinates.

    Raises:
        ImportError: If the library is missing.
    """
    check_installed(kind)
    n = len(embeddings)
    chosen = np.zeros(n, dtype=bool)
    chosen[np.random.default_rng(seed).choice(n, min(n, _FITTED), replace=False)] = True
    sample = np.asarray(embeddings[chosen], dtype=np.float32)
    coordinates = np.empty((n, 2), dtype=np.float32)
    coordinates[chosen] = fitted = _fit_coordinates(sample, kind, seed)
    others = np.flatnonzero(~chosen)
    if len(others):
        from sklearn.neighbors import KNeighborsRegressor

        regressor = KNeighborsRegressor(_NEAREST, weights="distance").fit(sample, fitted)
        for start in range(0, len(others), _BLOCK):
            block = others[start : start + _BLOCK]
            coordinates[block] = regressor.predict(np.asarray(embeddings[block], dtype=np.float32))
    return coordinates


def _fit_coordinates(sample: Float[np.ndarray, "n d"], kind: str, seed: int) -> Float[np.ndarray, "n 2"]:
    if kind == "umap":
        from umap import UMAP

        fitted = UMAP(random_state=seed, n_jobs=1).fit_transform(sample)  # a seed needs one thread
    else:
        from pacmap import PaCMAP

        fitted = PaCMAP(random_state=seed).fit_transform(sample)
    return np.asarray(fitted, dtype=np.float32)
