"""The dense optimiser, which reads every row in every step: two matrix products and hand-written gradients, in torch.

Runs are batched: k centres ascend at once, their matrix-vector products joined into matrix products. From rows in other
processes only sums are needed, so the same code serves a sharded search (see `distributed`).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from weakspot.methods.distributed import ProcessGroup
from weakspot.methods.spotlight.fixed_size import scale_of_size
from weakspot.methods.spotlight.objective import DeviceProblem, Problem, value_and_slopes
from weakspot.methods.spotlight.optim.bfgs import advance, descent
from weakspot.methods.spotlight.optim.optimizer import (
    BETA1,
    BETA2,
    EPSILON,
    FIRST_MOVE,
    LEAST_CUT,
    PLATEAU_THRESHOLD,
    STEPS_PER_SIZE,
    AdamSchedule,
    OnStep,
    OptimizationRun,
)
from weakspot.methods.spotlight.precision import Precision

STEPS_PER_CALL = 100
_ROWS, _FEW_ROWS = 1 << 14, 1 << 10


class DenseOptimizer:
    """An `Optimizer` on any device, for any kind of precision.

    Args:
        x: (n, d) the working embeddings, on their device.
        precision: The kind of precision.
        processes: The processes that hold the rows.
    """

    def __init__(self, x: Float[Tensor, "n d"], precision: Precision, processes: ProcessGroup) -> None:
        self.x = x
        self.squares = x.new_empty(len(x), dtype=torch.float64)
        for part, out in zip(torch.split(x, _FEW_ROWS), torch.split(self.squares, _FEW_ROWS), strict=True):
            torch.sum(part * part, dim=1, dtype=torch.float64, out=out)
        self.precision = precision
        self.processes = processes

    @property
    def dimensions(self) -> int:
        return self.x.shape[1]

    def take(self, rows: Int[Tensor, " a"]) -> DenseOptimizer:
        """Return an optimiser over some of the rows."""
        return DenseOptimizer(self.x[rows], self.precision, self.processes)

    def of(self, precision: Precision) -> DenseOptimizer:
        """Return an optimiser over the same rows, for another kind of precision."""
        dense = copy(self)
        dense.precision = precision
        return dense

    def tensor(self, values: Float[np.ndarray, " *shape"]) -> Float[Tensor, " *shape"]:
        """Return values as a float64 tensor on the device of the embeddings."""
        return torch.from_numpy(np.asarray(values, dtype=np.float64)).to(self.x.device)

    def quadratic_form(
        self, m: Float[Tensor, "k d"], parameters: Float[Tensor, "k s"]
    ) -> Float[Tensor, "n k"]:
        """Return q = (x - m)ᵀ P (x - m) of every row and run (n, k), in float64."""
        blocks = zip(torch.split(self.x, _ROWS), torch.split(self.squares, _ROWS), strict=True)
        return torch.cat([self.precision.quadratic_form(x, squares, m, parameters) for x, squares in blocks])

    def gradient(
        self,
        slopes: Float[Tensor, "n k"],
        q: Float[Tensor, "n k"],
        m: Float[Tensor, "k d"],
        parameters: Float[Tensor, "k s"],
    ) -> tuple[Float[Tensor, "k d"], Float[Tensor, "k s"]]:
        """Return the gradients ∂f/∂m (k, d) and ∂f/∂θ (k, s) of an objective.

        Args:
            slopes: (n, k) ∂f/∂w, zero outside the support.
            q: (n, k) the quadratic forms.
            m: (k, d) the centres.
            parameters: (k, s) θ of the precisions.
        """
        by_m, by_theta = torch.zeros_like(m), torch.zeros_like(parameters)
        for x, g, part in zip(
            torch.split(self.x, _ROWS), torch.split(slopes, _ROWS), torch.split(q, _ROWS), strict=True
        ):
            more_m, more_theta = self.precision.gradient(x, g, part, m, parameters)
            by_m += more_m
            by_theta += more_theta
        both = self.processes.sum(torch.cat([by_m, by_theta], dim=1))
        return both[:, : self.dimensions], both[:, self.dimensions :]

    def value_and_gradient(
        self,
        device_problem: DeviceProblem,
        m: Float[Tensor, "k d"],
        parameters: Float[Tensor, "k s"],
        barrier: float,
    ) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"], Float[Tensor, "k d"], Float[Tensor, "k s"]]:
        """Return objective (k,), size (k,), and the gradients ∂f/∂m (k, d) and ∂f/∂θ (k, s)."""
        q = self.quadratic_form(m, parameters)
        w = (1 - q).clamp_(min=0)
        objective, size, slopes = value_and_slopes(w, device_problem, barrier, self.processes)
        return objective, size, *self.gradient(slopes * (w > 0), q, m, parameters)

    def at_size(
        self, device_problem: DeviceProblem, m: Float[Tensor, "k d"], parameters: Float[Tensor, "k s"]
    ) -> tuple[Float[Tensor, " k"], Float[Tensor, "k d"], Float[Tensor, "k s"], Float[Tensor, " k"]]:
        """Return the objective without barrier at S = T, its gradients, and the factor on P that gives S = T.

        Any move changes the factor so that S stays fixed: with g = ∂f/∂w and κ = Σ g·q / Σ c·q (over the support),
        this subtracts c·κ from every slope. If S = T would require a spotlight too small for q to be reliable
        (see `Precision.max_factor`), it is the smallest reliable one, with S > T, and its factor does not change.
        """
        max_factor = self.precision.max_factor(m, parameters, self.x.dtype)
        q = self.quadratic_form(m, parameters)
        factor = scale_of_size(
            q, device_problem.counts, device_problem.problem.size, self.processes, max_factor
        )
        q *= factor
        w = (1 - q).clamp_(min=0)
        value, _, slopes = value_and_slopes(w, device_problem, None, self.processes)
        inside = w > 0
        sums = torch.stack([(slopes * q * inside).sum(dim=0), device_problem.counts @ (q * inside)])
        weighted_slopes, spread = self.processes.sum(sums)
        kappa = torch.where((spread > 0) & (factor < max_factor), weighted_slopes / spread, 0.0)
        slopes = (slopes - device_problem.counts[:, None] * kappa) * inside
        by_m, by_theta = self.gradient(slopes, q, m, self.precision.scale(parameters, factor[:, None]))
        return value, by_m, by_theta, factor

    def ascend(
        self,
        problem: Problem,
        starts: Sequence[OptimizationRun],
        fixed_sizes: Sequence[float],
        least_gain: float,
        on_step: OnStep | None = None,
    ) -> list[OptimizationRun]:
        """Ascend from all starts at once (see `Optimizer`), by the centre and the movable entries of θ."""
        runs = list(starts)
        for size in fixed_sizes:
            device_problem = DeviceProblem.of(replace(problem, size=size), self.x.device)
            runs = self._ascend_at_size(device_problem, runs, least_gain)
            if on_step is not None:
                best = max(runs, key=lambda run: run.value)
                on_step(STEPS_PER_SIZE * len(runs), best.value, size, None)
        return runs

    def _ascend_at_size(
        self, device_problem: DeviceProblem, runs: Sequence[OptimizationRun], least_gain: float
    ) -> list[OptimizationRun]:
        d = self.dimensions
        movable = self.precision.movable(d)

        def at(theta: Sequence[np.ndarray], among: Sequence[int]) -> tuple[Tensor, Tensor]:
            values = self.tensor(np.stack(theta))
            moved = parameters[among]
            moved[:, movable] = values[:, d:]
            return values[:, :d], moved

        centres = self.tensor(np.stack([run.centre for run in runs if run.centre is not None]))
        parameters = self.tensor(np.stack([run.parameters for run in runs]))
        factor = self.at_size(device_problem, centres, parameters)[-1]
        parameters = self.precision.scale(parameters, factor[:, None])
        radii = (-0.5 * parameters[:, -1]).exp().tolist()  # of one axis, if they differ
        theta = torch.cat([centres, parameters[:, movable]], dim=1).cpu().numpy()
        descents = [descent(t, least_gain, FIRST_MOVE * r) for t, r in zip(theta, radii, strict=True)]
        open_ = list(range(len(runs)))
        while open_:
            value, by_m, by_theta, _ = self.at_size(
                device_problem, *at([descents[j].trial for j in open_], open_)
            )
            slopes = -torch.cat([by_m, by_theta[:, movable]], dim=1).cpu().numpy()
            answers = zip(open_, (-value).tolist(), slopes, strict=True)
            open_ = [j for j, lower, slope in answers if advance(lower, slope, descents[j])]
        m, parameters = at([one.point for one in descents], list(range(len(runs))))
        parameters = self.precision.scale(
            parameters, self.at_size(device_problem, m, parameters)[-1][:, None]
        )
        ends = zip(runs, descents, m.cpu().numpy(), parameters.cpu().numpy(), strict=True)
        return [run.after(one, device_problem.problem.size, *end) for run, one, *end in ends]

    def adam(
        self,
        problem: Problem,
        schedule: AdamSchedule,
        centres: Float[np.ndarray, "k d"],
        parameters: Float[np.ndarray, "k s"],
        on_step: OnStep | None = None,
    ) -> Sequence[OptimizationRun]:
        """Ascend from all starts at once (see `Optimizer`); values leave the device at the end and for `on_step`."""
        device_problem = DeviceProblem.of(problem, self.x.device)
        adam = _Adam.start(
            self.tensor(np.concatenate([centres / schedule.unit, parameters], axis=1)), schedule
        )
        history = torch.full((3, len(schedule.barrier), len(centres)), torch.nan, dtype=torch.float64)
        history = history.to(self.x.device)
        for t, barrier in enumerate(schedule.barrier):
            m, theta = self._split(adam.theta, schedule)
            value, size, by_m, by_theta = self.value_and_gradient(device_problem, m, theta, float(barrier))
            adam.step(t, value, size, torch.cat([by_m * schedule.unit, by_theta], dim=1), problem.size)
            adam.theta[:, self.dimensions :] = self.precision.project(adam.theta[:, self.dimensions :])
            history[:, t] = torch.where(adam.alive, torch.stack([value, size, adam.rate]), torch.nan)
            done = t + 1
            if on_step is not None and (done % STEPS_PER_CALL == 0 or done == len(schedule.barrier)):
                steps = (done - 1) % STEPS_PER_CALL + 1
                on_step(steps * len(centres), *history[:, t, int(value.argmax())].tolist())
        return self._end(adam, schedule, history.cpu().numpy())

    def _split(
        self, theta: Float[Tensor, "k t"], schedule: AdamSchedule
    ) -> tuple[Float[Tensor, "k d"], Float[Tensor, "k s"]]:
        """Split all parameters of a run into the centre, in working units, and θ of the precision."""
        return theta[:, : self.dimensions] * schedule.unit, theta[:, self.dimensions :]

    def _end(
        self, adam: _Adam, schedule: AdamSchedule, history: Float[np.ndarray, "3 steps k"]
    ) -> list[OptimizationRun]:
        m, parameters = self._split(adam.theta, schedule)
        inside = self.processes.sum((self.quadratic_form(m, parameters) < 1).sum(dim=0))
        alive = adam.alive & (inside > 0)
        m, parameters = self._split(torch.where(alive[:, None], adam.theta, adam.feasible), schedule)
        known = alive | adam.has_feasible
        runs = []
        for j in range(len(m)):
            objective, size, rate = history[:, ~np.isnan(history[0, :, j]), j]
            centre = m[j].cpu().numpy() if known[j] else None
            runs.append(
                OptimizationRun(centre, parameters[j].cpu().numpy(), objective, size, rate, bool(alive[j]))
            )
        return runs


@dataclass
class _Adam:
    """Holds the state of Adam and of the learning-rate plateau for k runs, on the device."""

    theta: Float[Tensor, "k t"]
    first_moment: Float[Tensor, "k t"]
    second_moment: Float[Tensor, "k t"]
    rate: Float[Tensor, " k"]
    best: Float[Tensor, " k"]
    bad_steps: Float[Tensor, " k"]
    alive: Float[Tensor, " k"]
    feasible: Float[Tensor, "k t"]
    has_feasible: Float[Tensor, " k"]
    schedule: AdamSchedule

    @classmethod
    def start(cls, theta: Float[Tensor, "k t"], schedule: AdamSchedule) -> _Adam:
        rate = theta.new_full((len(theta),), schedule.learning_rate)
        return cls(
            theta=theta,
            first_moment=torch.zeros_like(theta),
            second_moment=torch.zeros_like(theta),
            rate=rate,
            best=torch.full_like(rate, torch.inf),
            bad_steps=torch.zeros_like(rate),
            alive=torch.ones_like(rate, dtype=torch.bool),
            feasible=theta.clone(),
            has_feasible=torch.zeros_like(rate, dtype=torch.bool),
            schedule=schedule,
        )

    def step(self, t: int, value: Tensor, size: Tensor, gradient: Tensor, enough: float) -> None:
        self.alive = self.alive & (size > 0)
        large = self.alive & (size >= enough)
        self.feasible, self.has_feasible = (
            torch.where(large[:, None], self.theta, self.feasible),
            self.has_feasible | large,
        )

        self.first_moment = BETA1 * self.first_moment - (1 - BETA1) * gradient
        self.second_moment = BETA2 * self.second_moment + (1 - BETA2) * gradient * gradient
        root = (self.second_moment / (1 - BETA2 ** (t + 1))).sqrt() + EPSILON
        move = self.rate[:, None] / (1 - BETA1 ** (t + 1)) * self.first_moment / root
        self.theta = torch.where(self.alive[:, None], self.theta - move, self.theta)

        # The published plateau: the threshold is relative to the *negated* objective, so if that is negative,
        # a slightly worse value still counts as better. Each cut resets the bookkeeping.
        better = -value < self.best * (1 - PLATEAU_THRESHOLD)
        self.best, self.bad_steps = (
            torch.where(better, -value, self.best),
            torch.where(better, 0.0, self.bad_steps + 1),
        )
        cut = self.bad_steps > self.schedule.patience
        lower = torch.where(
            self.rate * (1 - self.schedule.factor) > LEAST_CUT, self.rate * self.schedule.factor, self.rate
        )
        self.rate = torch.where(cut, lower, self.rate)
        self.best, self.bad_steps = self.best.masked_fill(cut, torch.inf), self.bad_steps.masked_fill(cut, 0)
