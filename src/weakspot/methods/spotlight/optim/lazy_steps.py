"""The compiled steps of the lazy optimiser: the same trajectory at about a hundredth of the reads.

Two facts remove nearly all of the work. Inside the support the kernel is quadratic, so the objective and
its gradient need only sums over the *active* points: a step costs O(d). And a point can become active or
inactive only if the triangle inequality allows it. Let d be its distance when it was last read, and path the length
that the centre has moved since: an inactive point need not be read while d - path ≥ r = 1/√p, nor an active one
while d + path < r. Sums are kept in float64; embeddings are read in their own precision.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from weakspot.methods.spotlight.objective import LEAST_SHARE
from weakspot.methods.spotlight.optim.bfgs import advance
from weakspot.methods.spotlight.optim.optimizer import BETA1, BETA2, EPSILON, LEAST_CUT, PLATEAU_THRESHOLD
from weakspot.methods.spotlight.precision import MOST_LOG_PRECISION

SLACK = 1e-6
"""Points this near the boundary, in working units, are always read: well above the rounding of float32."""

# The rows of the sums: Σc, Σc·y, and from CATEGORIES on one row per category of each penalty.
_MASS, _LOSS, CATEGORIES = 0, 1, 2


class Data(NamedTuple):
    """Holds what a run reads."""

    x: Any  # (n, d)
    squares: Any  # (n,) ‖x‖²
    counts: Any  # (n,)
    losses: Any  # (n,)
    codes: Any  # (n, penalties) rows of the sums
    bounds: Any  # (penalties + 1,) where each penalty's rows begin
    price_per_nat: Any  # (penalties,) price of a nat of entropy


class Sums(NamedTuple):
    """Holds, over the active points, Σv, Σv·‖x‖² and Σv·x for the values v of each row of sums."""

    mass: Any  # (rows,)
    squares: Any  # (rows,)
    moments: Any  # (rows, d)


class Points(NamedTuple):
    """Holds for every point whether it is active, and until when it need not be read.

    `crossing_key` is the distance when last read plus (inactive) or minus (active) the length of the centre's path by
    then, so that one comparison with r ± path shows whether the point may have crossed the boundary. `watch_list` holds
    those whose key lies near: the others cannot cross before r ± path leaves the interval that the list was made for.
    """

    active: Any  # (n,) bool
    crossing_key: Any  # (n,)
    watch_list: Any  # (n,)
    to_read: Any  # (n + 3,) the points to be read in this step
    distance: Any  # (n + 3,) and their distances then


class Iterate(NamedTuple):
    """Holds where a run is, and the objective's gradient there."""

    theta: Any  # (d + 1,) centre in the schedule's units, log precision
    centre: Any  # (d,) in working units
    rounded_centre: Any  # (d,) the same, in the embeddings' precision
    gradient: Any  # (d + 1,)
    first_moment: Any  # (d + 1,) Adam's moments
    second_moment: Any
    feasible: Any  # (d + 1,) the last theta that was large enough
    slopes: Any  # (rows,) ∂f/∂W of the weighted sums W = Σ v·w
    weighted: Any  # (rows,) W itself
    spreads: Any  # (rows,) Σ v·‖x - m‖²


class RunSettings(NamedTuple):
    """Holds the problem and the schedule of a run."""

    size: float
    barrier_cost: float
    sign: float
    barrier: Any
    patience: int
    factor: float
    unit: float
    max_scaled_norm: float  # precision × ‖m‖² beyond which distances are lost to rounding


STATE = np.dtype(
    [
        ("rate", "f8"),
        ("best", "f8"),
        ("bad_steps", "i8"),
        ("path", "f8"),  # the length of the centre's path
        ("low", "f8"),  # the interval of r ± path that the watch list was made for
        ("high", "f8"),
        ("margin", "f8"),  # its width, as a share of r
        ("since", "i8"),  # steps since the list was made
        ("watch_length", "i8"),  # its length
        ("active", "i8"),
        ("summed", "i8"),  # the most active points since the sums were last recomputed
        ("rows", "i8"),  # rows read so far
        ("feasible", "b1"),
        ("alive", "b1"),
        ("steps", "i8"),
    ]
)


@njit(cache=True, nogil=True, fastmath=True)
def _read_distances(x: Any, rows: Any, count: int, m: Any, distance: Any) -> None:
    """Write the distances of `count` rows from m, four at a time, so that memory reads overlap.

    `rows` and `distance` need room for three more.
    """
    rows[count : count + 3] = rows[count - 1]
    for w in range(0, count, 4):
        a, b, c, d = x[rows[w]], x[rows[w + 1]], x[rows[w + 2]], x[rows[w + 3]]
        at = bt = ct = dt = x.dtype.type(0)
        for k in range(m.shape[0]):
            at += (a[k] - m[k]) * (a[k] - m[k])
            bt += (b[k] - m[k]) * (b[k] - m[k])
            ct += (c[k] - m[k]) * (c[k] - m[k])
            dt += (d[k] - m[k]) * (d[k] - m[k])
        distance[w], distance[w + 1] = np.sqrt(np.float64(at)), np.sqrt(np.float64(bt))
        distance[w + 2], distance[w + 3] = np.sqrt(np.float64(ct)), np.sqrt(np.float64(dt))


@njit(cache=True, nogil=True, fastmath=True)
def _add(amount: float, row: Any, out: Any) -> None:
    for k in range(row.shape[0]):
        out[k] += amount * row[k]


@njit(cache=True, nogil=True, fastmath=True)
def _dot(a: Any, b: Any, length: int) -> Any:
    total = 0.0
    for k in range(length):
        total += a[k] * b[k]
    return total


@njit(cache=True, nogil=True)
def _add_to_row(row: int, value: float, i: int, data: Any, sums: Any) -> None:
    sums.mass[row] += value
    sums.squares[row] += value * data.squares[i]
    _add(value, data.x[i], sums.moments[row])


@njit(cache=True, nogil=True)
def _update_sums(i: int, way: float, data: Any, sums: Any) -> None:
    """Add a point to the sums (way = 1) or remove it (way = -1)."""
    c = way * data.counts[i]
    _add_to_row(_MASS, c, i, data, sums)
    _add_to_row(_LOSS, c * data.losses[i], i, data, sums)
    for g in range(data.codes.shape[1]):
        _add_to_row(data.codes[i, g], c, i, data, sums)


@njit(cache=True, nogil=True)
def _make_watch_list(low: float, high: float, radius: float, points: Any, state: Any) -> None:
    """List the points that may cross the boundary while r ± path stays within a margin of its current value."""
    if state.since < 8:
        state.margin *= 2
    elif state.since > 40:
        state.margin *= 0.7
    state.since = 0
    state.low = low - state.margin * radius
    state.high = high + state.margin * radius
    count = 0
    for i in range(len(points.crossing_key)):
        if (
            (points.crossing_key[i] >= state.low)
            if points.active[i]
            else (points.crossing_key[i] < state.high)
        ):
            points.watch_list[count] = i
            count += 1
    state.watch_length = count


@njit(cache=True, nogil=True)
def _update_active(data: Any, sums: Any, points: Any, iterate: Any, state: Any) -> None:
    """Bring the active set up to date, reading only the points that may have crossed the boundary."""
    radius = np.exp(-0.5 * iterate.theta[-1])
    slack = SLACK * (1 + radius)
    low, high = radius - state.path - slack, radius + state.path + slack
    state.since += 1
    if low <= state.low or high > state.high:
        _make_watch_list(low, high, radius, points, state)
    n_to_read = 0
    for w in range(state.watch_length):
        i = points.watch_list[w]
        points.to_read[n_to_read] = i
        n_to_read += (points.crossing_key[i] >= low) if points.active[i] else (points.crossing_key[i] < high)
    state.rows += n_to_read
    if n_to_read > 0:
        _read_distances(data.x, points.to_read, n_to_read, iterate.rounded_centre, points.distance)
    for w in range(n_to_read):
        i, distance = points.to_read[w], points.distance[w]
        inside = distance < radius
        points.crossing_key[i] = distance - state.path if inside else distance + state.path
        if inside != points.active[i]:
            points.active[i] = inside
            way = 1 if inside else -1
            state.active += way
            _update_sums(i, float(way), data, sums)
    if 2 * state.active < state.summed:  # recomputed, so that no rounding of removed points is left
        sums.mass[:] = 0
        sums.squares[:] = 0
        sums.moments[:] = 0
        for i in range(len(points.active)):
            if points.active[i]:
                _update_sums(i, 1.0, data, sums)
        state.summed = state.active
    state.summed = max(state.summed, state.active)


@njit(cache=True, nogil=True)
def _penalties(data: Any, iterate: Any) -> float:
    """Return Σ price·entropy of the categories inside; its slopes go into `iterate.slopes`."""
    size = iterate.weighted[_MASS]
    cost = 0.0
    for g in range(len(data.price_per_nat)):
        entropy = 0.0
        for row in range(data.bounds[g], data.bounds[g + 1]):
            share = max(iterate.weighted[row], 0.0) / size
            entropy -= share * np.log(max(share, LEAST_SHARE))
        for row in range(data.bounds[g], data.bounds[g + 1]):
            share = max(iterate.weighted[row], 0.0) / size
            iterate.slopes[row] = data.price_per_nat[g] / size * (np.log(max(share, LEAST_SHARE)) + entropy)
        cost += data.price_per_nat[g] * entropy
    return cost


@njit(cache=True, nogil=True)
def _value(barrier: float, data: Any, sums: Any, iterate: Any, settings: Any) -> Any:
    """Return the objective, NaN if nothing is inside; the gradient goes into `iterate.gradient`."""
    d = len(iterate.centre)
    m, slopes, weighted, spreads = iterate.centre, iterate.slopes, iterate.weighted, iterate.spreads
    precision = np.exp(iterate.theta[-1])
    square = _dot(m, m, d)
    for row in range(len(slopes)):
        spreads[row] = sums.squares[row] - 2 * _dot(sums.moments[row], m, d) + sums.mass[row] * square
        weighted[row] = sums.mass[row] - precision * spreads[row]
    size = weighted[_MASS]
    if not size > 0:
        return np.nan
    loss = weighted[_LOSS] / size
    short = max(settings.size + barrier - size, 0.0) / barrier
    slopes[_LOSS] = settings.sign / size
    slopes[_MASS] = -settings.sign * loss / size + 2 * settings.barrier_cost * short / barrier
    objective = settings.sign * loss - settings.barrier_cost * short * short - _penalties(data, iterate)

    iterate.gradient[:] = 0
    mass = 0.0
    for row in range(len(slopes)):
        mass += slopes[row] * sums.mass[row]
        iterate.gradient[d] -= precision * slopes[row] * spreads[row]
        _add(2 * precision * slopes[row], sums.moments[row], iterate.gradient[:d])
    _add(-2 * precision * mass, m, iterate.gradient[:d])
    return objective


@njit(cache=True, nogil=True, fastmath=True)
def _adam_step(t: int, iterate: Any, settings: Any, state: Any) -> None:
    """Take one step of Adam, and add its length to the path."""
    d = len(iterate.centre)
    rate, correction = state.rate / (1 - BETA1 ** (t + 1)), 1 / (1 - BETA2 ** (t + 1))
    walked = 0.0
    for k in range(d + 1):
        g = -iterate.gradient[k] * (settings.unit if k < d else 1.0)
        iterate.first_moment[k] = BETA1 * iterate.first_moment[k] + (1 - BETA1) * g
        iterate.second_moment[k] = BETA2 * iterate.second_moment[k] + (1 - BETA2) * g * g
        move = rate * iterate.first_moment[k] / (np.sqrt(iterate.second_moment[k] * correction) + EPSILON)
        iterate.theta[k] -= move
        if k < d:
            walked += move * move
            iterate.centre[k] = iterate.theta[k] * settings.unit
            iterate.rounded_centre[k] = iterate.centre[k]
    iterate.theta[d] = min(iterate.theta[d], MOST_LOG_PRECISION)
    state.path += np.sqrt(walked) * settings.unit


@njit(cache=True, nogil=True)
def _plateau(objective: float, settings: Any, state: Any) -> None:
    """Cut the learning rate after `patience` steps without improvement.

    As published, the threshold is relative to the *negated* objective: if that is negative, a slightly
    worse value still counts as better. Each cut resets the bookkeeping.
    """
    if -objective < state.best * (1 - PLATEAU_THRESHOLD):
        state.best = -objective
        state.bad_steps = 0
    else:
        state.bad_steps += 1
    if state.bad_steps > settings.patience:
        if state.rate * (1 - settings.factor) > LEAST_CUT:
            state.rate *= settings.factor
        state.best = np.inf
        state.bad_steps = 0


@njit(cache=True, nogil=True)
def adam_steps(
    start: int,
    stop: int,
    data: Any,
    sums: Any,
    points: Any,
    iterate: Any,
    settings: Any,
    history: Any,
    state: Any,
) -> None:
    for t in range(start, stop):
        _update_active(data, sums, points, iterate, state)
        objective = (
            np.nan if state.active == 0 else _value(settings.barrier[t], data, sums, iterate, settings)
        )
        if np.isnan(objective):
            state.alive = False
            return
        if iterate.weighted[_MASS] >= settings.size:
            for k in range(len(iterate.theta)):  # assigning a slice would take seconds to compile
                iterate.feasible[k] = iterate.theta[k]
            state.feasible = True
        _adam_step(t, iterate, settings, state)
        _plateau(objective, settings, state)
        history[0, t] = objective
        history[1, t] = iterate.weighted[_MASS]
        history[2, t] = state.rate
        state.steps = t + 1
    _update_active(data, sums, points, iterate, state)
    if state.active == 0:
        state.alive = False


@njit(cache=True, nogil=True)
def _solve_size(data: Any, sums: Any, points: Any, iterate: Any, settings: Any, state: Any) -> Any:
    """Adjust precision and active set to S = T; return False if that is too fine to be reliable, leaving S > T.

    S is convex, decreasing and piecewise linear in the precision, so Newton's method is exact after finitely many steps
    once S ≥ T. From below it may jump to a far too wide radius, so the radius grows by at most √2 per step.
    """
    m, d = iterate.centre, len(iterate.centre)
    square = _dot(m, m, d)
    max_precision = np.exp(MOST_LOG_PRECISION)
    if square * max_precision > settings.max_scaled_norm:
        max_precision = settings.max_scaled_norm / square
    precision = min(np.exp(iterate.theta[d]), max_precision)
    above = False
    while True:
        iterate.theta[d] = np.log(precision)
        _update_active(data, sums, points, iterate, state)
        mass = sums.mass[_MASS]
        spread = sums.squares[_MASS] - 2 * _dot(sums.moments[_MASS], m, d) + mass * square
        above = above or mass - precision * spread >= settings.size
        root = (mass - settings.size) / spread if spread > 0 else (max_precision if above else 0.0)
        better = min(root, max_precision) if above else max(root, precision / 2)
        if abs(better - precision) <= 1e-13 * precision or (above and better < precision):
            return precision < max_precision
        precision = better


@njit(cache=True, nogil=True)
def _move_centre(target: Any, iterate: Any, state: Any) -> None:
    walked = 0.0
    for k in range(len(target)):
        move = target[k] - iterate.centre[k]
        walked += move * move
        iterate.centre[k] = target[k]
        iterate.rounded_centre[k] = target[k]
    state.path += np.sqrt(walked)


@njit(cache=True, nogil=True)
def ascent_steps(
    data: Any, sums: Any, points: Any, iterate: Any, settings: Any, state: Any, descent: Any
) -> None:
    """Move the centre by BFGS at S = T.

    Any move changes the precision so that S stays fixed, which adds ∂f/∂p·dp/dm to the gradient, with
    dp/dm = 2p·(Σc·x - Σc·m) / Σc·‖x - m‖².
    """
    d = len(iterate.centre)
    _solve_size(data, sums, points, iterate, settings, state)
    descent.state.first_move *= np.exp(-0.5 * iterate.theta[d])
    going = True
    while going:
        _move_centre(descent.trial, iterate, state)
        size_is_exact = _solve_size(data, sums, points, iterate, settings, state)
        objective = _value(1.0, data, sums, iterate, settings)
        spread = iterate.spreads[_MASS]
        size_correction = 2 * iterate.gradient[d] / spread if size_is_exact and spread > 0 else 0.0
        for k in range(d):
            along = sums.moments[_MASS, k] - sums.mass[_MASS] * iterate.centre[k]
            iterate.gradient[k] = -(iterate.gradient[k] + size_correction * along)
        going = advance(-objective, iterate.gradient[:d], descent)
    _move_centre(descent.point, iterate, state)
    _solve_size(data, sums, points, iterate, settings, state)
