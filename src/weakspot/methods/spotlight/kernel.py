"""The kernel of fitted spotlights in the embedding's own units, exactly: float64, no expanded squares."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from weakspot.methods.base import embeddings_for, parameters_of
from weakspot.slices import Slices

ROWS = 1024

_ROUNDING = 1e-14
"""What subtracting and projecting make of a distance of nothing, as a share of the lengths involved."""


def quadratic(
    x: Float[np.ndarray, "n d"],
    centre: Float[np.ndarray, " d"],
    precision: Float[np.ndarray, " *shape"],
    components: Float[np.ndarray, "r d"] | None = None,
) -> Float[np.ndarray, " n"]:
    """(x - m)ᵀ P (x - m), a block of rows at a time.

    `precision` is a scalar p, a diagonal (d,) or a matrix (d, d); it acts on the principal components of
    x - m if there are any.
    """
    out = np.empty(len(x))
    for start in range(0, len(x), ROWS):
        away = x[start : start + ROWS] - centre
        if components is not None:
            away = away @ components.T
        bent = away @ precision if precision.ndim == 2 else away * precision
        out[start : start + ROWS] = np.einsum("nd,nd->n", bent, away)
    return out


def finest(centre: Float[np.ndarray, " d"], precision: Float[np.ndarray, " *shape"], unit: float) -> float:
    """The largest factor on P at which examples at the centre surely lie inside, whatever rounding makes of it.

    `unit` is the embeddings' RMS distance from their mean.
    """
    largest = np.trace(precision) if precision.ndim == 2 else np.max(precision)
    return float(0.5 / largest / (_ROUNDING**2 * (centre @ centre + unit**2)))


def weights(q: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return np.clip(1.0 - q, 0.0, 1.0)


def membership(slices: Slices, embeddings: Any) -> Float[np.ndarray, "n k"]:
    """Weights in [0, 1] of new embeddings (n, d) in every spotlight of `slices`, fitted or loaded."""
    centers, precisions = parameters_of(slices, "centers", "precisions")
    x = embeddings_for(embeddings, centers.shape[1], "the spotlights")
    components = slices.parameters.get("components")
    columns = [weights(quadratic(x, m, p, components)) for m, p in zip(centers, precisions, strict=True)]
    return np.stack(columns, axis=1)
