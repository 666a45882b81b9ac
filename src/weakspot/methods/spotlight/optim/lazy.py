"""The lazy optimiser, which reads few rows, for spherical precision; `lazy_steps` explains why few suffice."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

from weakspot.methods.spotlight.kernel import quadratic_form
from weakspot.methods.spotlight.objective import Problem
from weakspot.methods.spotlight.optim.bfgs import descent
from weakspot.methods.spotlight.optim.lazy_steps import (
    CATEGORIES,
    STATE,
    Data,
    Iterate,
    Points,
    RunSettings,
    Sums,
    adam_steps,
    ascent_steps,
)
from weakspot.methods.spotlight.optim.optimizer import (
    FIRST_MOVE,
    STEPS_PER_SIZE,
    AdamSchedule,
    OnStep,
    OptimizationRun,
)
from weakspot.methods.spotlight.precision import MAX_KNOWN_ROUNDING, Precision, SphericalPrecision

log = logging.getLogger(__name__)

Start = TypeVar("Start")

STEPS_PER_CALL = 250


@cache  # once per process: the compiled code then serves every run
def _log_loading() -> None:
    log.info("loading the compiled optimiser (compiled on first use, which takes some seconds)")


class LazyOptimizer:
    """An `Optimizer` for spherical precision on the CPU, which reads few rows.

    Args:
        x: (n, d) the working embeddings.
        threads: The number of runs at a time.
    """

    def __init__(self, x: Float[np.ndarray, "n d"], threads: int = 1) -> None:
        self.x = x
        self.precision: Precision = SphericalPrecision()
        self.squares = quadratic_form(x, np.zeros(x.shape[1]), np.ones(()))
        self.threads = threads

    def adam(
        self,
        problem: Problem,
        schedule: AdamSchedule,
        centres: Float[np.ndarray, "k d"],
        parameters: Float[np.ndarray, "k 1"],
        on_step: OnStep | None = None,
    ) -> list[OptimizationRun]:
        """Make each run separately (see `Optimizer`)."""
        data = self._data(problem)
        return self._run_each(
            lambda start: self._adam(data, problem, schedule, *start, on_step),
            list(zip(centres, parameters[:, 0], strict=True)),
        )

    def ascend(
        self,
        problem: Problem,
        starts: Sequence[OptimizationRun],
        fixed_sizes: Sequence[float],
        least_gain: float,
        on_step: OnStep | None = None,
    ) -> list[OptimizationRun]:
        """Make each run separately (see `Optimizer`)."""
        data = self._data(problem)
        return self._run_each(
            lambda start: self._ascend_one(data, problem, start, fixed_sizes, least_gain, on_step), starts
        )

    def _run_each(
        self, run: Callable[[Start], OptimizationRun], starts: Sequence[Start]
    ) -> list[OptimizationRun]:
        _log_loading()
        if self.threads == 1 or len(starts) == 1:
            return [run(start) for start in starts]
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(run, starts))

    def _data(self, problem: Problem) -> Data:
        widths = [penalty.categories for penalty in problem.penalties]
        bounds = np.cumsum([CATEGORIES, *widths])
        codes = [penalty.codes + start for penalty, start in zip(problem.penalties, bounds, strict=False)]
        return Data(
            x=self.x,
            squares=self.squares,
            counts=problem.counts,
            losses=problem.losses,
            codes=np.stack(codes, axis=1) if codes else np.empty((len(self.x), 0), dtype=np.int64),
            bounds=bounds,
            price_per_nat=np.array([penalty.weight / np.log(2) for penalty in problem.penalties]),
        )

    def _initial_state(
        self, data: Data, centre: Float[np.ndarray, " d"], log_precision: float, unit: float
    ) -> tuple[Sums, Points, Iterate, Any]:
        """Return the state of a run before its first step: no point is active, and every row must be read."""
        (n, d), rows = self.x.shape, int(data.bounds[-1])
        sums = Sums(np.zeros(rows), np.zeros(rows), np.zeros((rows, d)))
        points = Points(
            active=np.zeros(n, dtype=np.bool_),
            crossing_key=np.full(n, -np.inf),
            watch_list=np.empty(n, dtype=np.int64),
            to_read=np.empty(n + 3, dtype=np.int64),
            distance=np.empty(n + 3),
        )
        theta = np.append(centre / unit, log_precision)
        empty = np.zeros((3, d + 1))
        iterate = Iterate(
            theta=theta,
            centre=centre.astype(np.float64),
            rounded_centre=centre.astype(self.x.dtype),
            gradient=empty[0],
            first_moment=empty[1],
            second_moment=empty[2],
            feasible=theta.copy(),
            slopes=np.zeros(rows),
            weighted=np.zeros(rows),
            spreads=np.zeros(rows),
        )
        state = np.zeros(1, dtype=STATE)[0]
        state["low"], state["high"], state["margin"] = np.inf, -np.inf, 0.05
        return sums, points, iterate, state

    def _ascend_one(
        self,
        data: Data,
        problem: Problem,
        start: OptimizationRun,
        fixed_sizes: Sequence[float],
        least_gain: float,
        on_step: OnStep | None,
    ) -> OptimizationRun:
        assert start.centre is not None
        run = start
        sums, points, iterate, state = self._initial_state(data, start.centre, start.parameters[0], 1.0)
        max_scaled_norm = MAX_KNOWN_ROUNDING / float(np.finfo(self.x.dtype).eps)
        for size in fixed_sizes:
            settings = RunSettings(
                float(size), 0.0, float(problem.sign), np.ones(1), 0, 0.5, 1.0, max_scaled_norm
            )
            ascent = descent(iterate.centre, least_gain, FIRST_MOVE)
            ascent_steps(data, sums, points, iterate, settings, state, ascent)
            run = run.after(ascent, size, iterate.centre.copy(), iterate.theta[-1:].copy())
            if on_step is not None:
                on_step(STEPS_PER_SIZE, run.value, size, None)
        return replace(run, rows_read=int(state["rows"]))

    def _adam(
        self,
        data: Data,
        problem: Problem,
        schedule: AdamSchedule,
        centre: Float[np.ndarray, " d"],
        log_precision: float,
        on_step: OnStep | None,
    ) -> OptimizationRun:
        steps = len(schedule.barrier)
        sums, points, iterate, state = self._initial_state(data, centre, log_precision, schedule.unit)
        settings = RunSettings(
            float(problem.size),
            float(problem.barrier_cost),
            float(problem.sign),
            schedule.barrier,
            int(schedule.patience),
            float(schedule.factor),
            float(schedule.unit),
            np.inf,
        )
        state["rate"], state["best"], state["alive"] = schedule.learning_rate, np.inf, True
        history = np.empty((3, steps))
        for start in range(0, steps, STEPS_PER_CALL):
            stop = min(start + STEPS_PER_CALL, steps)
            adam_steps(start, stop, data, sums, points, iterate, settings, history, state)
            if on_step is not None:
                last = history[:, max(int(state["steps"]) - 1, 0)] if state["steps"] else np.full(3, np.nan)
                on_step(stop - start, *map(float, last))
            if not state["alive"]:
                break
        end = iterate.theta if state["alive"] else iterate.feasible
        known = bool(state["alive"] or state["feasible"])
        values = history[:, : int(state["steps"])]
        return OptimizationRun(
            centre=end[:-1] * schedule.unit if known else None,
            parameters=end[-1:].copy(),
            objective=values[0],
            size=values[1],
            learning_rate=values[2],
            complete=bool(state["alive"]),
            rows_read=int(state["rows"]),
        )
