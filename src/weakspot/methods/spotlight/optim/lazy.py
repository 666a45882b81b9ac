"""The lazy optimiser: the same trajectory at about a hundredth of the reads, compiled, for spherical precision.

Two facts remove nearly all of the work. Inside the support the kernel is quadratic, so the objective and
its gradient need only sums over the *active* points: a step costs O(d). And a point can become active or
inactive only if the triangle inequality allows it. With its distance d at its last reading and the path that
the centre has walked since, an inactive point need not be read while d - path ≥ r = 1/√p, nor an active one
while d + path < r. Sums are kept in float64; embeddings are read in their own precision.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float
from numba import njit

from weakspot.methods.spotlight.kernel import quadratic
from weakspot.methods.spotlight.objective import LEAST_SHARE, Problem
from weakspot.methods.spotlight.optim.bfgs import advance, descent
from weakspot.methods.spotlight.optim.run import (
    BETA1,
    BETA2,
    EPSILON,
    FIRST_MOVE,
    LEAST_CUT,
    PLATEAU_THRESHOLD,
    STEPS_PER_SIZE,
    Plan,
    Run,
    Watch,
)
from weakspot.methods.spotlight.precision import FINEST, MOST_LOG_PRECISION, Form, Spherical

log = logging.getLogger(__name__)

Start = TypeVar("Start")

SLACK = 1e-6
"""Points this near the boundary, in working units, are always read: well above the rounding of float32."""

STEPS_PER_CALL = 250

# The sums' rows: Σc, Σc·y, and one per category of each penalty.
_MASS, _LOSS, _CATEGORIES = 0, 1, 2


class _Data(NamedTuple):
    x: Any  # (n, d)
    squares: Any  # (n,) ‖x‖²
    counts: Any  # (n,)
    losses: Any  # (n,)
    codes: Any  # (n, penalties) rows of the sums
    bounds: Any  # (penalties + 1,) where each penalty's rows begin
    bits: Any  # (penalties,) price of a nat of entropy


class _Sums(NamedTuple):
    """Over the active points: Σv, Σv·‖x‖² and Σv·x, for the rows' values v."""

    mass: Any  # (rows,)
    squares: Any  # (rows,)
    moments: Any  # (rows, d)


class _Points(NamedTuple):
    """Of every point: whether it is active, and how far it may be left alone.

    `key` is the distance at the last reading plus (inactive) or minus (active) the path walked by then, so
    that one comparison with r ± path tells whether the point may have crossed. `watched` lists those whose
    key lies near: the others cannot cross before r ± path leaves the interval that the list was made for.
    """

    active: Any  # (n,) bool
    key: Any  # (n,)
    watched: Any  # (n,)
    due: Any  # (n + 3,) those to be read in this step
    distance: Any  # (n + 3,) and their distances then


class _Climber(NamedTuple):
    theta: Any  # (d + 1,) centre in the plan's units, log precision
    centre: Any  # (d,) in working units
    near: Any  # (d,) the same, in the embeddings' precision
    gradient: Any  # (d + 1,)
    first: Any  # (d + 1,) Adam's moments
    second: Any
    kept: Any  # (d + 1,) the last theta that was large enough
    slopes: Any  # (rows,) ∂f/∂W of the weighted sums W = Σ v·w
    weighted: Any  # (rows,) W itself
    spreads: Any  # (rows,) Σ v·‖x - m‖²


class _Rules(NamedTuple):
    size: float
    height: float
    sign: float
    barrier: Any
    patience: int
    factor: float
    unit: float
    finest: float  # precision × ‖m‖² beyond which distances are rounding


_STATE = np.dtype(
    [
        ("rate", "f8"),
        ("best", "f8"),
        ("bad", "i8"),
        ("path", "f8"),  # that the centre has walked
        ("low", "f8"),  # the interval of r ± path that the watch list was made for
        ("high", "f8"),
        ("margin", "f8"),  # its width, as a share of r
        ("since", "i8"),  # steps since the list was made
        ("watched", "i8"),  # its length
        ("active", "i8"),
        ("summed", "i8"),  # the most active points since the sums were last made afresh
        ("rows", "i8"),  # rows read so far
        ("kept", "b1"),
        ("alive", "b1"),
        ("steps", "i8"),
    ]
)


@njit(cache=True, nogil=True, fastmath=True)
def _read(x: Any, rows: Any, count: int, m: Any, distance: Any) -> None:
    """Distances of `count` rows from m, four at a time: while one row is waited for, others arrive.

    `rows` and `distance` have room for three more.
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
def _put(row: int, value: float, i: int, data: Any, sums: Any) -> None:
    sums.mass[row] += value
    sums.squares[row] += value * data.squares[i]
    _add(value, data.x[i], sums.moments[row])


@njit(cache=True, nogil=True)
def _admit(i: int, way: float, data: Any, sums: Any) -> None:
    """Add a point to the sums (way = 1) or take it out (way = -1)."""
    c = way * data.counts[i]
    _put(_MASS, c, i, data, sums)
    _put(_LOSS, c * data.losses[i], i, data, sums)
    for g in range(data.codes.shape[1]):
        _put(data.codes[i, g], c, i, data, sums)


@njit(cache=True, nogil=True)
def _rewatch(low: float, high: float, radius: float, points: Any, state: Any) -> None:
    """List the points that may cross while r ± path stays within a margin of where it is."""
    if state.since < 8:
        state.margin *= 2
    elif state.since > 40:
        state.margin *= 0.7
    state.since = 0
    state.low = low - state.margin * radius
    state.high = high + state.margin * radius
    count = 0
    for i in range(len(points.key)):
        if (points.key[i] >= state.low) if points.active[i] else (points.key[i] < state.high):
            points.watched[count] = i
            count += 1
    state.watched = count


@njit(cache=True, nogil=True)
def _review(data: Any, sums: Any, points: Any, climber: Any, state: Any) -> None:
    """Bring the active set up to date, reading only the points that may have crossed the boundary."""
    radius = np.exp(-0.5 * climber.theta[-1])
    slack = SLACK * (1 + radius)
    low, high = radius - state.path - slack, radius + state.path + slack
    state.since += 1
    if low <= state.low or high > state.high:
        _rewatch(low, high, radius, points, state)
    due = 0
    for w in range(state.watched):
        i = points.watched[w]
        points.due[due] = i
        due += (points.key[i] >= low) if points.active[i] else (points.key[i] < high)
    state.rows += due
    if due > 0:
        _read(data.x, points.due, due, climber.near, points.distance)
    for w in range(due):
        i, distance = points.due[w], points.distance[w]
        inside = distance < radius
        points.key[i] = distance - state.path if inside else distance + state.path
        if inside != points.active[i]:
            points.active[i] = inside
            way = 1 if inside else -1
            state.active += way
            _admit(i, float(way), data, sums)
    if 2 * state.active < state.summed:  # made afresh, so that no rounding is left of what went out
        sums.mass[:] = 0
        sums.squares[:] = 0
        sums.moments[:] = 0
        for i in range(len(points.active)):
            if points.active[i]:
                _admit(i, 1.0, data, sums)
        state.summed = state.active
    state.summed = max(state.summed, state.active)


@njit(cache=True, nogil=True)
def _penalties(data: Any, climber: Any) -> float:
    """Σ price·entropy of the categories inside, its slopes added to the climber's."""
    size = climber.weighted[_MASS]
    cost = 0.0
    for g in range(len(data.bits)):
        entropy = 0.0
        for row in range(data.bounds[g], data.bounds[g + 1]):
            share = max(climber.weighted[row], 0.0) / size
            entropy -= share * np.log(max(share, LEAST_SHARE))
        for row in range(data.bounds[g], data.bounds[g + 1]):
            share = max(climber.weighted[row], 0.0) / size
            climber.slopes[row] = data.bits[g] / size * (np.log(max(share, LEAST_SHARE)) + entropy)
        cost += data.bits[g] * entropy
    return cost


@njit(cache=True, nogil=True)
def _value(barrier: float, data: Any, sums: Any, climber: Any, rules: Any) -> Any:
    """The objective, its gradient left in the climber. NaN if nothing is inside."""
    d = len(climber.centre)
    m, slopes, weighted, spreads = climber.centre, climber.slopes, climber.weighted, climber.spreads
    precision = np.exp(climber.theta[-1])
    square = _dot(m, m, d)
    for row in range(len(slopes)):
        spreads[row] = sums.squares[row] - 2 * _dot(sums.moments[row], m, d) + sums.mass[row] * square
        weighted[row] = sums.mass[row] - precision * spreads[row]
    size = weighted[_MASS]
    if not size > 0:
        return np.nan
    loss = weighted[_LOSS] / size
    short = max(rules.size + barrier - size, 0.0) / barrier
    slopes[_LOSS] = rules.sign / size
    slopes[_MASS] = -rules.sign * loss / size + 2 * rules.height * short / barrier
    objective = rules.sign * loss - rules.height * short * short - _penalties(data, climber)

    climber.gradient[:] = 0
    mass = 0.0
    for row in range(len(slopes)):
        mass += slopes[row] * sums.mass[row]
        climber.gradient[d] -= precision * slopes[row] * spreads[row]
        _add(2 * precision * slopes[row], sums.moments[row], climber.gradient[:d])
    _add(-2 * precision * mass, m, climber.gradient[:d])
    return objective


@njit(cache=True, nogil=True, fastmath=True)
def _adam_step(t: int, climber: Any, rules: Any, state: Any) -> None:
    """One step of Adam, and the way that the centre went with it."""
    d = len(climber.centre)
    rate, correction = state.rate / (1 - BETA1 ** (t + 1)), 1 / (1 - BETA2 ** (t + 1))
    walked = 0.0
    for k in range(d + 1):
        g = -climber.gradient[k] * (rules.unit if k < d else 1.0)
        climber.first[k] = BETA1 * climber.first[k] + (1 - BETA1) * g
        climber.second[k] = BETA2 * climber.second[k] + (1 - BETA2) * g * g
        move = rate * climber.first[k] / (np.sqrt(climber.second[k] * correction) + EPSILON)
        climber.theta[k] -= move
        if k < d:
            walked += move * move
            climber.centre[k] = climber.theta[k] * rules.unit
            climber.near[k] = climber.centre[k]
    climber.theta[d] = min(climber.theta[d], MOST_LOG_PRECISION)
    state.path += np.sqrt(walked) * rules.unit


@njit(cache=True, nogil=True)
def _plateau(objective: float, rules: Any, state: Any) -> None:
    """Cut the learning rate after `patience` steps without gain.

    As published, the threshold is relative to the *negated* objective: where that is negative, a slightly
    worse value still counts as better. Each cut starts the bookkeeping anew.
    """
    if -objective < state.best * (1 - PLATEAU_THRESHOLD):
        state.best = -objective
        state.bad = 0
    else:
        state.bad += 1
    if state.bad > rules.patience:
        if state.rate * (1 - rules.factor) > LEAST_CUT:
            state.rate *= rules.factor
        state.best = np.inf
        state.bad = 0


@njit(cache=True, nogil=True)
def _steps(
    start: int,
    stop: int,
    data: Any,
    sums: Any,
    points: Any,
    climber: Any,
    rules: Any,
    history: Any,
    state: Any,
) -> None:
    for t in range(start, stop):
        _review(data, sums, points, climber, state)
        objective = np.nan if state.active == 0 else _value(rules.barrier[t], data, sums, climber, rules)
        if np.isnan(objective):
            state.alive = False
            return
        if climber.weighted[_MASS] >= rules.size:
            for k in range(len(climber.theta)):  # a slice's assignment would take seconds to compile
                climber.kept[k] = climber.theta[k]
            state.kept = True
        _adam_step(t, climber, rules, state)
        _plateau(objective, rules, state)
        history[0, t] = objective
        history[1, t] = climber.weighted[_MASS]
        history[2, t] = state.rate
        state.steps = t + 1
    _review(data, sums, points, climber, state)
    if state.active == 0:
        state.alive = False


@njit(cache=True, nogil=True)
def _fix_size(data: Any, sums: Any, points: Any, climber: Any, rules: Any, state: Any) -> Any:
    """Bring precision and active set to where S = T; False where that is too fine to be known, with S > T.

    S is convex, falling and piecewise linear in the precision, so Newton's method from above T is exact after
    finitely many steps. From below it may leap to far too wide a radius, which therefore grows by √2 at most.
    """
    m, d = climber.centre, len(climber.centre)
    square = _dot(m, m, d)
    most = np.exp(MOST_LOG_PRECISION)
    if square * most > rules.finest:
        most = rules.finest / square
    precision = min(np.exp(climber.theta[d]), most)
    above = False
    while True:
        climber.theta[d] = np.log(precision)
        _review(data, sums, points, climber, state)
        mass = sums.mass[_MASS]
        spread = sums.squares[_MASS] - 2 * _dot(sums.moments[_MASS], m, d) + mass * square
        above = above or mass - precision * spread >= rules.size
        root = (mass - rules.size) / spread if spread > 0 else (most if above else 0.0)
        better = min(root, most) if above else max(root, precision / 2)
        if abs(better - precision) <= 1e-13 * precision or (above and better < precision):
            return precision < most
        precision = better


@njit(cache=True, nogil=True)
def _place(target: Any, climber: Any, state: Any) -> None:
    walked = 0.0
    for k in range(len(target)):
        move = target[k] - climber.centre[k]
        walked += move * move
        climber.centre[k] = target[k]
        climber.near[k] = target[k]
    state.path += np.sqrt(walked)


@njit(cache=True, nogil=True)
def _ascend(data: Any, sums: Any, points: Any, climber: Any, rules: Any, state: Any, descent: Any) -> None:
    """BFGS of the centre at S = T.

    Any move changes the precision so that S stays, which adds ∂f/∂p·dp/dm to the gradient, with
    dp/dm = 2p·(Σc·x - Σc·m) / Σc·‖x - m‖².
    """
    d = len(climber.centre)
    _fix_size(data, sums, points, climber, rules, state)
    descent.state.first_move *= np.exp(-0.5 * climber.theta[d])
    going = True
    while going:
        _place(descent.trial, climber, state)
        free = _fix_size(data, sums, points, climber, rules, state)
        objective = _value(1.0, data, sums, climber, rules)
        spread = climber.spreads[_MASS]
        pull = 2 * climber.gradient[d] / spread if free and spread > 0 else 0.0
        for k in range(d):
            along = sums.moments[_MASS, k] - sums.mass[_MASS] * climber.centre[k]
            climber.gradient[k] = -(climber.gradient[k] + pull * along)
        going = advance(-objective, climber.gradient[:d], descent)
    _place(descent.point, climber, state)
    _fix_size(data, sums, points, climber, rules, state)


@cache  # once in a process: what is compiled is then there for every run
def _say_that_it_loads() -> None:
    log.info("loading the compiled optimiser (compiled on first use, which takes some seconds)")


class Lazy:
    """Embeddings ready for any number of lazy runs, `threads` of them at a time."""

    def __init__(self, x: Float[np.ndarray, "n d"], threads: int = 1) -> None:
        self.x = x
        self.form: Form = Spherical()
        self.squares = quadratic(x, np.zeros(x.shape[1]), np.ones(()))
        self.threads = threads

    def adam(
        self,
        problem: Problem,
        plan: Plan,
        centres: Float[np.ndarray, "k d"],
        shapes: Float[np.ndarray, "k 1"],
        watch: Watch | None = None,
    ) -> list[Run]:
        """Each run on its own (see `Engine`)."""
        data = self._data(problem)
        return self._each(
            lambda start: self._adam(data, problem, plan, *start, watch),
            list(zip(centres, shapes[:, 0], strict=True)),
        )

    def ascend(
        self,
        problem: Problem,
        starts: Sequence[Run],
        sizes: Sequence[float],
        least_gain: float,
        watch: Watch | None = None,
    ) -> list[Run]:
        """Each run on its own (see `Engine`)."""
        data = self._data(problem)
        return self._each(
            lambda start: self._ascended(data, problem, start, sizes, least_gain, watch), starts
        )

    def _each(self, run: Callable[[Start], Run], starts: Sequence[Start]) -> list[Run]:
        _say_that_it_loads()
        if self.threads == 1 or len(starts) == 1:
            return [run(start) for start in starts]
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(run, starts))

    def _data(self, problem: Problem) -> _Data:
        widths = [penalty.categories for penalty in problem.penalties]
        bounds = np.cumsum([_CATEGORIES, *widths])
        codes = [penalty.codes + start for penalty, start in zip(problem.penalties, bounds, strict=False)]
        return _Data(
            x=self.x,
            squares=self.squares,
            counts=problem.counts,
            losses=problem.losses,
            codes=np.stack(codes, axis=1) if codes else np.empty((len(self.x), 0), dtype=np.int64),
            bounds=bounds,
            bits=np.array([penalty.weight / np.log(2) for penalty in problem.penalties]),
        )

    def _prepared(
        self, data: _Data, centre: Float[np.ndarray, " d"], log_precision: float, unit: float
    ) -> tuple[_Sums, _Points, _Climber, Any]:
        """Nothing is active yet, and every row is to be read."""
        (n, d), rows = self.x.shape, int(data.bounds[-1])
        sums = _Sums(np.zeros(rows), np.zeros(rows), np.zeros((rows, d)))
        points = _Points(
            active=np.zeros(n, dtype=np.bool_),
            key=np.full(n, -np.inf),
            watched=np.empty(n, dtype=np.int64),
            due=np.empty(n + 3, dtype=np.int64),
            distance=np.empty(n + 3),
        )
        theta = np.append(centre / unit, log_precision)
        empty = np.zeros((3, d + 1))
        climber = _Climber(
            theta=theta,
            centre=centre.astype(np.float64),
            near=centre.astype(self.x.dtype),
            gradient=empty[0],
            first=empty[1],
            second=empty[2],
            kept=theta.copy(),
            slopes=np.zeros(rows),
            weighted=np.zeros(rows),
            spreads=np.zeros(rows),
        )
        state = np.zeros(1, dtype=_STATE)[0]
        state["low"], state["high"], state["margin"] = np.inf, -np.inf, 0.05
        return sums, points, climber, state

    def _ascended(
        self,
        data: _Data,
        problem: Problem,
        start: Run,
        sizes: Sequence[float],
        least_gain: float,
        watch: Watch | None,
    ) -> Run:
        assert start.centre is not None
        run = start
        sums, points, climber, state = self._prepared(data, start.centre, start.shape[0], 1.0)
        finest = FINEST / float(np.finfo(self.x.dtype).eps)
        for size in sizes:
            rules = _Rules(float(size), 0.0, float(problem.sign), np.ones(1), 0, 0.5, 1.0, finest)
            ascent = descent(climber.centre, least_gain, FIRST_MOVE)
            _ascend(data, sums, points, climber, rules, state, ascent)
            run = run.after(ascent, size, climber.centre.copy(), climber.theta[-1:].copy())
            if watch is not None:
                watch(STEPS_PER_SIZE, run.value, size, None)
        return replace(run, rows_read=int(state["rows"]))

    def _adam(
        self,
        data: _Data,
        problem: Problem,
        plan: Plan,
        centre: Float[np.ndarray, " d"],
        log_precision: float,
        watch: Watch | None,
    ) -> Run:
        steps = len(plan.barrier)
        sums, points, climber, state = self._prepared(data, centre, log_precision, plan.unit)
        rules = _Rules(
            float(problem.size),
            float(problem.height),
            float(problem.sign),
            plan.barrier,
            int(plan.patience),
            float(plan.factor),
            float(plan.unit),
            np.inf,
        )
        state["rate"], state["best"], state["alive"] = plan.learning_rate, np.inf, True
        history = np.empty((3, steps))
        for start in range(0, steps, STEPS_PER_CALL):
            stop = min(start + STEPS_PER_CALL, steps)
            _steps(start, stop, data, sums, points, climber, rules, history, state)
            if watch is not None:
                last = history[:, max(int(state["steps"]) - 1, 0)] if state["steps"] else np.full(3, np.nan)
                watch(stop - start, *map(float, last))
            if not state["alive"]:
                break
        end = climber.theta if state["alive"] else climber.kept
        there = bool(state["alive"] or state["kept"])
        values = history[:, : int(state["steps"])]
        return Run(
            centre=end[:-1] * plan.unit if there else None,
            shape=end[-1:].copy(),
            objective=values[0],
            size=values[1],
            learning_rate=values[2],
            complete=bool(state["alive"]),
            rows_read=int(state["rows"]),
        )
