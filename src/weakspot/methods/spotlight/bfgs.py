"""BFGS for functions with kinks.

With a line search that asks for weak Wolfe conditions only, BFGS goes on where the function is not smooth
(Lewis and Overton, Math. Programming 141, 2013, algorithms 2.1 and 2.6). The searches at hand in SciPy ask for
the strong ones and give up at a kink, of which a spotlight has one per example on its boundary: its weights
were then known to a hundredth, here to a millionth.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Function = Callable[[Float[np.ndarray, " d"]], tuple[float, Float[np.ndarray, " d"]]]

_DECREASE, _CURVATURE = 1e-4, 0.9
_ITERATIONS, _TRIALS = 300, 40
_PATIENCE = 3
_FIRST_MOVE = 0.1


def minimised(
    function: Function, start: Float[np.ndarray, " d"], least_gain: float
) -> Float[np.ndarray, " d"]:
    """A local minimum of `function`, which returns its value and gradient; never a point above the start.

    It ends with three gains in a row below `least_gain`, as a share of the value.
    """
    x = start
    value, gradient = function(x)
    inverse = None  # of the Hessian, once there is a first step to scale it by
    stalled = 0
    for _ in range(_ITERATIONS):
        direction = -gradient if inverse is None else -(inverse @ gradient)
        slope = float(gradient @ direction)
        if not slope < 0:
            break
        first = 1.0 if inverse is not None else _FIRST_MOVE / float(np.linalg.norm(gradient))
        found = _line_search(function, x, direction, value, slope, first)
        if found is None:
            break
        step, (lower, steeper) = found
        move, change = step * direction, steeper - gradient
        curvature = move @ change
        if inverse is None:
            inverse = np.eye(len(x)) * (curvature / (change @ change))
        bent = inverse @ change / curvature
        inverse += np.outer(move, move * (1 / curvature + change @ bent / curvature) - bent) - np.outer(
            bent, move
        )
        stalled = stalled + 1 if value - lower < least_gain * abs(value) else 0
        x, value, gradient = x + move, lower, steeper
        if stalled == _PATIENCE:
            break
    return x


def _line_search(
    function: Function,
    x: Float[np.ndarray, " d"],
    direction: Float[np.ndarray, " d"],
    value: float,
    slope: float,
    step: float,
) -> tuple[float, tuple[float, Float[np.ndarray, " d"]]] | None:
    """A step that lowers the value and flattens the slope enough: doubled until bracketed, then halved."""
    low, high = 0.0, np.inf
    for _ in range(_TRIALS):
        there, gradient = function(x + step * direction)
        if not there <= value + _DECREASE * step * slope:
            high = step
        elif gradient @ direction < _CURVATURE * slope:
            low = step
        else:
            return step, (there, gradient)
        step = (low + high) / 2 if high < np.inf else 2 * step
    return None
