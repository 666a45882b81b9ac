"""`at_size` for spheres among few rows, compiled: in torch, its hundred calls cost many times what they compute."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def at_size_among_few(
    x: Any, counts: Any, losses: Any, size: float, sign: float, m: Any, precision: Any, finest: Any
) -> Any:
    """What `sizes.at_size` returns: values (k,), gradients by centre (k, d) and by log p (k,), factors (k,)."""
    k, d = m.shape
    value, by_m, by_shape, factor = np.empty(k), np.zeros((k, d)), np.zeros(k), np.empty(k)
    q = np.empty(len(x))
    for j in range(k):
        for i in range(len(x)):
            q[i] = precision[j] * _square_of_distance(x[i], m[j])
        s = factor[j] = _scale_of_size(q, counts, size, finest[j])
        total = loss = spread = 0.0
        for i in range(len(x)):
            w = 1 - s * q[i]
            if w > 0:
                total += counts[i] * w
                loss += counts[i] * w * losses[i]
                spread += counts[i] * s * q[i]
        loss /= total
        value[j] = sign * loss
        pull = 0.0
        for i in range(len(x)):
            if 1 - s * q[i] > 0:
                pull += counts[i] * sign * (losses[i] - loss) / total * s * q[i]
        kappa = pull / spread if spread > 0 and s < finest[j] else 0.0
        for i in range(len(x)):
            if 1 - s * q[i] > 0:
                slope = counts[i] * (sign * (losses[i] - loss) / total - kappa)
                by_shape[j] -= slope * s * q[i]
                _pull(2 * precision[j] * s * slope, x[i], m[j], by_m[j])
    return value, by_m, by_shape, factor


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def _square_of_distance(row: Any, m: Any) -> float:
    total = 0.0
    for k in range(len(m)):
        total += (row[k] - m[k]) * (row[k] - m[k])
    return total


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def _pull(amount: float, row: Any, m: Any, out: Any) -> None:
    for k in range(len(m)):
        out[k] += amount * (row[k] - m[k])


@njit(cache=True, nogil=True, error_model="numpy")
def _scale_of_size(q: Any, counts: Any, size: float, most: float) -> float:
    """As `sizes.scale_of_size`, which says why it ends."""
    s = min(max(_newton(1.0, q, counts, size), 0.0), most)
    while True:
        larger = min(_newton(s, q, counts, size), most)
        if not larger > s * (1 + 1e-14):
            return s
        s = larger


@njit(cache=True, nogil=True, error_model="numpy")
def _newton(s: float, q: Any, counts: Any, size: float) -> float:
    mass = spread = 0.0
    for i in range(len(q)):
        if s * q[i] < 1:
            mass += counts[i]
            spread += counts[i] * q[i]
    if spread > 0:
        return (mass - size) / spread
    return s if mass >= size else 0.0
