"""Limited-memory BFGS for functions with kinks, compiled, by reverse communication.

With a line search that requires only the weak Wolfe conditions, BFGS also works if the function is not smooth
(Lewis and Overton, Math. Programming 141, 2013, algorithm 2.6); a spotlight has a kink for every example on its
boundary. The inverse Hessian is approximated from the last steps alone (Nocedal and Wright, algorithm 7.4).

The method requests one value and gradient at a time (`advance`), so that the same code serves compiled functions
and those that torch evaluates for many descents at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numba import njit

MOST_STEPS = 300
_MEMORY, _TRIALS = 40, 25
_PATIENCE = 3
_DECREASE, _CURVATURE = 1e-4, 0.9


class Descent(NamedTuple):
    """Holds the state of a descent in `dimensions` parameters, and the point to be evaluated next."""

    point: Any  # (dimensions,) the best so far
    gradient: Any  # (dimensions,) there
    direction: Any  # (dimensions,)
    trial: Any  # (dimensions,) to be evaluated next
    moves: Any  # (_MEMORY, dimensions)
    changes: Any  # (_MEMORY, dimensions) of the gradient
    curvatures: Any  # (_MEMORY,)
    shares: Any  # (_MEMORY,)
    values: Any  # (MOST_STEPS + 1,) at the start and after each step
    lengths: Any  # (MOST_STEPS + 1,) of each step
    state: Any


_STATE = np.dtype(
    [
        ("value", "f8"),
        ("slope", "f8"),
        ("step", "f8"),
        ("low", "f8"),
        ("high", "f8"),
        ("scale", "f8"),
        ("first_move", "f8"),
        ("least_gain", "f8"),
        ("trials", "i8"),
        ("steps", "i8"),
        ("stalled", "i8"),
        ("begun", "b1"),
    ]
)


def descent(start: Float[np.ndarray, " t"], least_gain: float, first_move: float) -> Descent:
    """Begin a descent from `start`, which is to be evaluated first.

    Args:
        start: (t,) parameters.
        least_gain: The descent ends after three gains in a row below this share of the value.
        first_move: The length of the first step tried, before the gradients give a scale.
    """
    t = len(start)
    state = np.zeros(1, dtype=_STATE)[0]
    state["first_move"], state["least_gain"] = first_move, least_gain
    return Descent(
        point=start.copy(),
        gradient=np.zeros(t),
        direction=np.zeros(t),
        trial=start.copy(),
        moves=np.zeros((_MEMORY, t)),
        changes=np.zeros((_MEMORY, t)),
        curvatures=np.zeros(_MEMORY),
        shares=np.zeros(_MEMORY),
        values=np.zeros(MOST_STEPS + 1),
        lengths=np.zeros(MOST_STEPS + 1),
        state=state,
    )


@njit(cache=True, nogil=True)
def advance(value: float, gradient: Any, d: Any) -> Any:
    """Take the value and gradient at `d.trial`; return False if the descent has ended, at `d.point`.

    The line search requires the weak Wolfe conditions f(x + t·p) ≤ f(x) + c₁·t·∇f·p and ∇f(x + t·p)·p ≥ c₂·∇f·p,
    with c₁ = 1e-4 and c₂ = 0.9, by bisection and doubling.
    """
    s = d.state
    if not s.begun:
        s.begun = True
        s.value = d.values[0] = value
        d.gradient[:] = gradient
        return _choose_direction(d)
    if not value <= s.value + _DECREASE * s.step * s.slope:
        s.high = s.step
    elif _dot(gradient, d.direction) < _CURVATURE * s.slope:
        s.low = s.step
    else:
        return _accept_step(value, gradient, d) and _choose_direction(d)
    s.trials += 1
    s.step = 0.5 * (s.low + s.high) if s.high < np.inf else 2 * s.step
    _set_trial(d)
    return s.trials < _TRIALS


@njit(cache=True, nogil=True)
def _accept_step(value: float, gradient: Any, d: Any) -> Any:
    """Move to the trial and remember the step; return False if the descent ends."""
    s = d.state
    k = s.steps % _MEMORY
    curvature = square = length = 0.0
    for i in range(len(gradient)):
        move, change = d.trial[i] - d.point[i], gradient[i] - d.gradient[i]
        d.moves[k, i], d.changes[k, i] = move, change
        curvature += move * change
        square += change * change
        length += move * move
        d.point[i] = d.trial[i]
        d.gradient[i] = gradient[i]
    s.stalled = s.stalled + 1 if s.value - value < s.least_gain * abs(value) else 0
    s.value = value
    s.steps += 1
    d.values[s.steps], d.lengths[s.steps] = value, np.sqrt(length)
    if not (curvature > 0 and square > 0):  # They are positive unless they underflow.
        return False
    d.curvatures[k] = curvature
    s.scale = curvature / square
    return s.steps < MOST_STEPS and s.stalled < _PATIENCE


@njit(cache=True, nogil=True)
def _choose_direction(d: Any) -> bool:
    """Choose the next direction by the two-loop recursion, and its first trial."""
    s = d.state
    known = min(s.steps, _MEMORY)
    for i in range(len(d.point)):
        d.direction[i] = -d.gradient[i]
    for j in range(s.steps - 1, s.steps - 1 - known, -1):
        k = j % _MEMORY
        d.shares[k] = _dot(d.moves[k], d.direction) / d.curvatures[k]
        _add(-d.shares[k], d.changes[k], d.direction)
    if known > 0:
        for i in range(len(d.point)):
            d.direction[i] *= s.scale
    for j in range(s.steps - known, s.steps):
        k = j % _MEMORY
        _add(d.shares[k] - _dot(d.changes[k], d.direction) / d.curvatures[k], d.moves[k], d.direction)
    s.slope = _dot(d.gradient, d.direction)
    if not s.slope < 0:
        return False
    s.low, s.high, s.trials = 0.0, np.inf, 0
    s.step = 1.0 if known > 0 else s.first_move / np.sqrt(_dot(d.gradient, d.gradient))
    _set_trial(d)
    return True


@njit(cache=True, nogil=True)
def _set_trial(d: Any) -> None:
    for i in range(len(d.point)):
        d.trial[i] = d.point[i] + d.state.step * d.direction[i]


@njit(cache=True, nogil=True, fastmath=True)
def _dot(a: Any, b: Any) -> float:
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@njit(cache=True, nogil=True, fastmath=True)
def _add(amount: float, row: Any, out: Any) -> None:
    for i in range(len(row)):
        out[i] += amount * row[i]
