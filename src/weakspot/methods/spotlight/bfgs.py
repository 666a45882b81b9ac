"""BFGS for functions with kinks, any number of descents side by side.

With a line search that asks for weak Wolfe conditions only, BFGS goes on where the function is not smooth
(Lewis and Overton, Math. Programming 141, 2013, algorithms 2.1 and 2.6). The searches at hand in SciPy ask for
the strong ones and give up at a kink, of which a spotlight has one per example on its boundary: its weights
were then known to a hundredth, here to a millionth.

A descent is a generator that asks for values, so that many can be answered by one batched evaluation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Told = tuple[float, Float[np.ndarray, " d"]]
"""A function's value and gradient."""

Function = Callable[[Float[np.ndarray, "k d"]], tuple[Float[np.ndarray, " k"], Float[np.ndarray, "k d"]]]
"""Values and gradients at k points."""

_DECREASE, _CURVATURE = 1e-4, 0.9
_ITERATIONS, _TRIALS = 300, 40
_PATIENCE = 3

MOST_DENSE, STEPS_KEPT = 256, 40
"""Dimensions, beyond which the Hessian is known from the last steps alone; how many of them."""


@dataclass(frozen=True)
class Descent:
    """Where a descent ended, never above its start, and how it went.

    values   (t,) after each step
    lengths  (t,) of each step
    """

    end: Float[np.ndarray, " d"]
    values: Float[np.ndarray, " t"]
    lengths: Float[np.ndarray, " t"]


def minimised(
    function: Function, starts: Float[np.ndarray, "k d"], least_gain: float, first_move: float = 0.1
) -> list[Descent]:
    """Local minima of `function`, one from each start.

    A descent ends with three gains in a row below `least_gain`, as a share of the value. Nothing tells the
    scale of a first step, so its length is given: `first_move`.
    """
    descents = [_descent(start, least_gain, first_move) for start in starts]
    asked = {j: next(descent) for j, descent in enumerate(descents)}
    ended: dict[int, Descent] = {}
    while asked:
        values, gradients = function(np.stack(list(asked.values())))
        for j, value, gradient in zip(list(asked), values, gradients, strict=True):
            try:
                asked[j] = descents[j].send((float(value), gradient))
            except StopIteration as stop:
                del asked[j]
                ended[j] = stop.value
    return [ended[j] for j in range(len(starts))]


class Dense:
    """The inverse of the Hessian as a matrix, from the steps so far."""

    def __init__(self, dimensions: int, scale: float) -> None:
        self.inverse = np.eye(dimensions) * scale

    def straighten(self, gradient: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
        step: np.ndarray = self.inverse @ gradient
        return step

    def learn(self, move: Float[np.ndarray, " d"], change: Float[np.ndarray, " d"], curvature: float) -> None:
        bent = self.inverse @ change / curvature
        both = move * (1 / curvature + change @ bent / curvature) - bent
        self.inverse += move[:, None] * both - bent[:, None] * move


class Limited:
    """The same from the last steps alone, without the matrix (Nocedal's two loops)."""

    def __init__(self, dimensions: int, scale: float) -> None:
        self.scale = scale
        self.steps: deque[tuple[np.ndarray, np.ndarray, float]] = deque(maxlen=STEPS_KEPT)

    def straighten(self, gradient: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
        step, shares = gradient.copy(), []
        for move, change, curvature in reversed(self.steps):
            shares.append(float(move @ step) / curvature)
            step -= shares[-1] * change
        step *= self.scale
        for move, change, curvature in self.steps:
            step += (shares.pop() - float(change @ step) / curvature) * move
        return step

    def learn(self, move: Float[np.ndarray, " d"], change: Float[np.ndarray, " d"], curvature: float) -> None:
        self.steps.append((move, change, curvature))
        self.scale = curvature / float(change @ change)


def _descent(
    start: Float[np.ndarray, " d"], least_gain: float, first_move: float
) -> Generator[Float[np.ndarray, " d"], Told, Descent]:
    x = start
    value, gradient = yield x
    bent: Dense | Limited | None = None  # once there is a first step to scale it by
    values: list[float] = []
    lengths: list[float] = []
    stalled = 0
    while len(values) < _ITERATIONS and stalled < _PATIENCE:
        direction = -gradient if bent is None else -bent.straighten(gradient)
        slope = float(gradient @ direction)
        if not slope < 0:
            break
        first = 1.0 if bent is not None else first_move / float(np.linalg.norm(gradient))
        found = yield from _line_search(x, direction, value, slope, first)
        if found is None:
            break
        step, (lower, steeper) = found
        move, change = step * direction, steeper - gradient
        stalled = stalled + 1 if value - lower < least_gain * abs(value) else 0
        x, value, gradient = x + move, lower, steeper
        values.append(value)
        lengths.append(float(np.linalg.norm(move)))
        curvature, square = float(move @ change), float(change @ change)
        if not (curvature > 0 and square > 0):  # it is, but for underflow
            break
        if bent is None:
            bent = (Dense if len(x) <= MOST_DENSE else Limited)(len(x), curvature / square)
        bent.learn(move, change, curvature)
    return Descent(x, np.array(values), np.array(lengths))


def _line_search(
    x: Float[np.ndarray, " d"], direction: Float[np.ndarray, " d"], value: float, slope: float, step: float
) -> Generator[Float[np.ndarray, " d"], Told, tuple[float, Told] | None]:
    """A step that lowers the value and flattens the slope enough: doubled until bracketed, then halved."""
    low, high = 0.0, np.inf
    for _ in range(_TRIALS):
        there, gradient = yield x + step * direction
        if not there <= value + _DECREASE * step * slope:
            high = step
        elif gradient @ direction < _CURVATURE * slope:
            low = step
        else:
            return step, (there, gradient)
        step = (low + high) / 2 if high < np.inf else 2 * step
    return None
