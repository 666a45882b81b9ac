"""The kernel w(x) = max(0, 1 - p·‖x - m‖²): weights of examples, and the precision that gives a wanted size."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from weakspot.slices import Slices

_ROWS = 8192


def distances(x: Float[np.ndarray, "n d"], centre: Float[np.ndarray, " d"]) -> Float[np.ndarray, " n"]:
    """‖x - m‖² in float64, by difference (no cancellation), a block of rows at a time."""
    out = np.empty(len(x))
    for start in range(0, len(x), _ROWS):
        difference = x[start : start + _ROWS] - centre
        out[start : start + _ROWS] = np.einsum("nd,nd->n", difference, difference)
    return out


def precision_of_size(
    squares: Float[np.ndarray, " n"], counts: Float[np.ndarray, " n"], size: float
) -> float:
    """The precision p at which Σ c·max(0, 1 - p·d²) = `size`, exactly.

    The sum is convex and piecewise linear in p, so Newton's method from p = 0 never overshoots and ends after
    finitely many steps, on the right piece. Where more than `size` examples lie at distance 0 no p is large
    enough: the last one found, which gives more than `size`, is returned.
    """
    p = 0.0
    active = np.ones(len(squares), dtype=bool)
    while True:
        spread = counts[active] @ squares[active]
        if spread <= 0:
            return p
        larger = (counts[active].sum() - size) / spread
        if not larger > p * (1 + 1e-14):
            return p
        p = float(larger)
        active = p * squares < 1


def weights(squares: Float[np.ndarray, " n"], precision: float) -> Float[np.ndarray, " n"]:
    return np.maximum(0.0, 1.0 - precision * squares)


def membership(slices: Slices, embeddings: Any) -> Float[np.ndarray, "n k"]:
    """Weights in [0, 1] of new embeddings (n, d) in every spotlight of `slices`, fitted or loaded."""
    x = np.asarray(embeddings)
    centres, precisions = slices.parameters["centers"], slices.parameters["precisions"]
    if x.ndim != 2 or x.shape[1] != centres.shape[1]:
        raise ValueError(
            f"embeddings have shape {x.shape}, but the spotlights were found in {centres.shape[1]} dimensions"
        )
    return np.stack([weights(distances(x, m), p) for m, p in zip(centres, precisions, strict=True)], axis=1)
