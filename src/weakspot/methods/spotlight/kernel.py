"""The exact kernel of fitted spotlights, in the embedding's own units: float64, without expanded squares."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from weakspot.methods.base import embeddings_for, parameters_of
from weakspot.slices import Slices

ROWS = 1024
"""Rows read at a time."""

_ROUNDING = 1e-14
"""Computed by subtracting and projecting, a distance of 0 may come out as this share of the lengths involved."""


def quadratic_form(
    x: Float[np.ndarray, "n d"],
    centre: Float[np.ndarray, " d"],
    precision: Float[np.ndarray, " *shape"],
    components: Float[np.ndarray, "r d"] | None = None,
) -> Float[np.ndarray, " n"]:
    """Return q = (x - m)ᵀ P (x - m) of every row, in float64.

    Args:
        x: (n, d) embeddings.
        centre: (d,) m.
        precision: P as a scalar p, a diagonal (d,) or a matrix (d, d).
        components: (r, d) principal components; if given, P acts on x - m projected onto them.

    Returns:
        (n,)
    """
    out = np.empty(len(x))
    for start in range(0, len(x), ROWS):
        difference = x[start : start + ROWS] - centre
        if components is not None:
            difference = difference @ components.T
        scaled = difference @ precision if precision.ndim == 2 else difference * precision
        out[start : start + ROWS] = np.einsum("nd,nd->n", scaled, difference)
    return out


def max_factor(
    centre: Float[np.ndarray, " d"], precision: Float[np.ndarray, " *shape"], unit: float
) -> float:
    """Return the largest factor on P at which examples at the centre lie inside for certain, despite rounding.

    Args:
        centre: (d,) m.
        precision: P as a scalar, a diagonal (d,) or a matrix (d, d).
        unit: The embeddings' RMS distance from their mean.
    """
    largest = np.trace(precision) if precision.ndim == 2 else np.max(precision)
    return float(0.5 / largest / (_ROUNDING**2 * (centre @ centre + unit**2)))


def kernel_weights(q: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return the kernel weights w = max(0, 1 - q)."""
    return np.clip(1.0 - q, 0.0, 1.0)


def membership(slices: Slices, embeddings: Any) -> Float[np.ndarray, "n k"]:
    """Return the kernel weights (n, k), in [0, 1], of new embeddings (n, d) in every spotlight of `slices`.

    Args:
        slices: Slices of the Spotlight, fitted or loaded.
        embeddings: (n, d) of the same model that the spotlights were found in.

    Raises:
        ValueError: If the slices hold no centres, or the embeddings have another width.
    """
    centers, precisions = parameters_of(slices, "centers", "precisions")
    x = embeddings_for(embeddings, centers.shape[1], "the spotlights")
    components = slices.parameters.get("components")
    columns = [
        kernel_weights(quadratic_form(x, m, p, components)) for m, p in zip(centers, precisions, strict=True)
    ]
    return np.stack(columns, axis=1)
