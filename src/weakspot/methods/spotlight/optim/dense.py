"""The plain optimiser: two matrix products and hand-written gradients a step, in torch, on any device.

Runs are batched: k centres ascend at once, their matrix-vector products joined into matrix products. Nothing
but reduced sums is needed of rows held elsewhere, so the same code serves a sharded search (see `distributed`).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from weakspot.methods.distributed import World
from weakspot.methods.spotlight.fixed_size import scale_of_size
from weakspot.methods.spotlight.objective import DeviceProblem, Problem, value_and_slopes
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
from weakspot.methods.spotlight.precision import Form

STEPS_PER_CALL = 100
_ROWS, _FEW_ROWS = 1 << 14, 1 << 10


class Dense:
    """Embeddings on a device, and what searches ask of them."""

    def __init__(self, x: Float[Tensor, "n d"], form: Form, world: World) -> None:
        self.x = x
        self.squares = x.new_empty(len(x), dtype=torch.float64)
        for part, out in zip(torch.split(x, _FEW_ROWS), torch.split(self.squares, _FEW_ROWS), strict=True):
            torch.sum(part * part, dim=1, dtype=torch.float64, out=out)
        self.form = form
        self.world = world

    @property
    def dimensions(self) -> int:
        return self.x.shape[1]

    def take(self, rows: Int[Tensor, " a"]) -> Dense:
        return Dense(self.x[rows], self.form, self.world)

    def of(self, form: Form) -> Dense:
        """The same rows, for precisions of another form."""
        dense = copy(self)
        dense.form = form
        return dense

    def tensor(self, values: Float[np.ndarray, " *shape"]) -> Float[Tensor, " *shape"]:
        return torch.from_numpy(np.asarray(values, dtype=np.float64)).to(self.x.device)

    def quadratic(self, m: Float[Tensor, "k d"], shape: Float[Tensor, "k s"]) -> Float[Tensor, "n k"]:
        """(x - m)ᵀ P (x - m) of every row and run, in float64."""
        blocks = zip(torch.split(self.x, _ROWS), torch.split(self.squares, _ROWS), strict=True)
        return torch.cat([self.form.quadratic(x, squares, m, shape) for x, squares in blocks])

    def gradient(
        self,
        slopes: Float[Tensor, "n k"],
        q: Float[Tensor, "n k"],
        m: Float[Tensor, "k d"],
        shape: Float[Tensor, "k s"],
    ) -> tuple[Float[Tensor, "k d"], Float[Tensor, "k s"]]:
        """By centre and by shape, of an objective with these slopes ∂f/∂w (zero outside the support)."""
        by_m, by_shape = torch.zeros_like(m), torch.zeros_like(shape)
        for x, g, part in zip(
            torch.split(self.x, _ROWS), torch.split(slopes, _ROWS), torch.split(q, _ROWS), strict=True
        ):
            more_m, more_shape = self.form.gradient(x, g, part, m, shape)
            by_m += more_m
            by_shape += more_shape
        both = self.world.sum(torch.cat([by_m, by_shape], dim=1))
        return both[:, : self.dimensions], both[:, self.dimensions :]

    def value_and_gradient(
        self, given: DeviceProblem, m: Float[Tensor, "k d"], shape: Float[Tensor, "k s"], barrier: float
    ) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"], Float[Tensor, "k d"], Float[Tensor, "k s"]]:
        """Objective, size, and the objective's gradient by centre and by shape."""
        q = self.quadratic(m, shape)
        w = (1 - q).clamp_(min=0)
        objective, size, slopes = value_and_slopes(w, given, barrier, self.world)
        return objective, size, *self.gradient(slopes * (w > 0), q, m, shape)

    def at_size(
        self, given: DeviceProblem, m: Float[Tensor, "k d"], shape: Float[Tensor, "k s"]
    ) -> tuple[Float[Tensor, " k"], Float[Tensor, "k d"], Float[Tensor, "k s"], Float[Tensor, " k"]]:
        """The objective without barrier at S = T, its gradient, and the factor on P that gives S = T.

        Any move changes the factor so that S stays: with g = ∂f/∂w this takes κ = Σ g·q / Σ c·q (over the
        support) off every slope, per count. Where S = T would ask for a spotlight too small for q to be known
        (see `Form.finest`), it is the smallest known one, with S > T, and its factor does not change.
        """
        finest = self.form.finest(m, shape, self.x.dtype)
        q = self.quadratic(m, shape)
        factor = scale_of_size(q, given.counts, given.problem.size, self.world, finest)
        q *= factor
        w = (1 - q).clamp_(min=0)
        value, _, slopes = value_and_slopes(w, given, None, self.world)
        inside = w > 0
        sums = torch.stack([(slopes * q * inside).sum(dim=0), given.counts @ (q * inside)])
        pull, spread = self.world.sum(sums)
        kappa = torch.where((spread > 0) & (factor < finest), pull / spread, 0.0)
        slopes = (slopes - given.counts[:, None] * kappa) * inside
        by_m, by_shape = self.gradient(slopes, q, m, self.form.scaled(shape, factor[:, None]))
        return value, by_m, by_shape, factor

    def ascend(
        self,
        problem: Problem,
        starts: Sequence[Run],
        sizes: Sequence[float],
        least_gain: float,
        watch: Watch | None = None,
    ) -> list[Run]:
        """All at once (see `Engine`), by the centre and what the form leaves free."""
        runs = list(starts)
        for size in sizes:
            given = DeviceProblem.of(replace(problem, size=size), self.x.device)
            runs = self._ascended(given, runs, least_gain)
            if watch is not None:
                best = max(runs, key=lambda run: run.value)
                watch(STEPS_PER_SIZE * len(runs), best.value, size, None)
        return runs

    def _ascended(self, given: DeviceProblem, runs: Sequence[Run], least_gain: float) -> list[Run]:
        d = self.dimensions
        free = self.form.free(d)

        def placed(theta: Sequence[np.ndarray], among: Sequence[int]) -> tuple[Tensor, Tensor]:
            values = self.tensor(np.stack(theta))
            shape = shapes[among]
            shape[:, free] = values[:, d:]
            return values[:, :d], shape

        centres = self.tensor(np.stack([run.centre for run in runs if run.centre is not None]))
        shapes = self.tensor(np.stack([run.shape for run in runs]))
        factor = self.at_size(given, centres, shapes)[-1]
        shapes = self.form.scaled(shapes, factor[:, None])
        radii = (-0.5 * shapes[:, -1]).exp().tolist()  # of one axis, where they differ
        theta = torch.cat([centres, shapes[:, free]], dim=1).cpu().numpy()
        descents = [descent(t, least_gain, FIRST_MOVE * r) for t, r in zip(theta, radii, strict=True)]
        open_ = list(range(len(runs)))
        while open_:
            value, by_m, by_shape, _ = self.at_size(given, *placed([descents[j].trial for j in open_], open_))
            slopes = -torch.cat([by_m, by_shape[:, free]], dim=1).cpu().numpy()
            answers = zip(open_, (-value).tolist(), slopes, strict=True)
            open_ = [j for j, lower, slope in answers if advance(lower, slope, descents[j])]
        m, shape = placed([one.point for one in descents], list(range(len(runs))))
        shape = self.form.scaled(shape, self.at_size(given, m, shape)[-1][:, None])
        ends = zip(runs, descents, m.cpu().numpy(), shape.cpu().numpy(), strict=True)
        return [run.after(one, given.problem.size, *end) for run, one, *end in ends]

    def adam(
        self,
        problem: Problem,
        plan: Plan,
        centres: Float[np.ndarray, "k d"],
        shapes: Float[np.ndarray, "k s"],
        watch: Watch | None = None,
    ) -> Sequence[Run]:
        """From every start at once; no value leaves the device before the end, unless `watch` asks."""
        given = DeviceProblem.of(problem, self.x.device)
        adam = _Adam.start(self.tensor(np.concatenate([centres / plan.unit, shapes], axis=1)), plan)
        history = torch.full((3, len(plan.barrier), len(centres)), torch.nan, dtype=torch.float64)
        history = history.to(self.x.device)
        for t, barrier in enumerate(plan.barrier):
            m, shape = self._split(adam.theta, plan)
            value, size, by_m, by_shape = self.value_and_gradient(given, m, shape, float(barrier))
            adam.step(t, value, size, torch.cat([by_m * plan.unit, by_shape], dim=1), problem.size)
            adam.theta[:, self.dimensions :] = self.form.settle(adam.theta[:, self.dimensions :])
            history[:, t] = torch.where(adam.alive, torch.stack([value, size, adam.rate]), torch.nan)
            done = t + 1
            if watch is not None and (done % STEPS_PER_CALL == 0 or done == len(plan.barrier)):
                steps = (done - 1) % STEPS_PER_CALL + 1
                watch(steps * len(centres), *history[:, t, int(value.argmax())].tolist())
        return self._end(adam, plan, history.cpu().numpy())

    def _split(
        self, theta: Float[Tensor, "k t"], plan: Plan
    ) -> tuple[Float[Tensor, "k d"], Float[Tensor, "k s"]]:
        return theta[:, : self.dimensions] * plan.unit, theta[:, self.dimensions :]

    def _end(self, adam: _Adam, plan: Plan, history: Float[np.ndarray, "3 steps k"]) -> list[Run]:
        m, shape = self._split(adam.theta, plan)
        inside = self.world.sum((self.quadratic(m, shape) < 1).sum(dim=0))
        alive = adam.alive & (inside > 0)
        m, shape = self._split(torch.where(alive[:, None], adam.theta, adam.kept), plan)
        there = alive | adam.has_kept
        runs = []
        for j in range(len(m)):
            objective, size, rate = history[:, ~np.isnan(history[0, :, j]), j]
            centre = m[j].cpu().numpy() if there[j] else None
            runs.append(Run(centre, shape[j].cpu().numpy(), objective, size, rate, bool(alive[j])))
        return runs


@dataclass
class _Adam:
    """Adam and the plateau of k runs, kept on the device."""

    theta: Float[Tensor, "k t"]
    first: Float[Tensor, "k t"]
    second: Float[Tensor, "k t"]
    rate: Float[Tensor, " k"]
    best: Float[Tensor, " k"]
    bad: Float[Tensor, " k"]
    alive: Float[Tensor, " k"]
    kept: Float[Tensor, "k t"]
    has_kept: Float[Tensor, " k"]
    plan: Plan

    @classmethod
    def start(cls, theta: Float[Tensor, "k t"], plan: Plan) -> _Adam:
        rate = theta.new_full((len(theta),), plan.learning_rate)
        return cls(
            theta=theta,
            first=torch.zeros_like(theta),
            second=torch.zeros_like(theta),
            rate=rate,
            best=torch.full_like(rate, torch.inf),
            bad=torch.zeros_like(rate),
            alive=torch.ones_like(rate, dtype=torch.bool),
            kept=theta.clone(),
            has_kept=torch.zeros_like(rate, dtype=torch.bool),
            plan=plan,
        )

    def step(self, t: int, value: Tensor, size: Tensor, gradient: Tensor, enough: float) -> None:
        self.alive = self.alive & (size > 0)
        large = self.alive & (size >= enough)
        self.kept, self.has_kept = torch.where(large[:, None], self.theta, self.kept), self.has_kept | large

        self.first = BETA1 * self.first - (1 - BETA1) * gradient
        self.second = BETA2 * self.second + (1 - BETA2) * gradient * gradient
        root = (self.second / (1 - BETA2 ** (t + 1))).sqrt() + EPSILON
        move = self.rate[:, None] / (1 - BETA1 ** (t + 1)) * self.first / root
        self.theta = torch.where(self.alive[:, None], self.theta - move, self.theta)

        # The published plateau: a relative threshold on the *negated* objective, so that, where that is
        # negative, a slightly worse value still counts as better. Each cut starts the bookkeeping anew.
        better = -value < self.best * (1 - PLATEAU_THRESHOLD)
        self.best, self.bad = torch.where(better, -value, self.best), torch.where(better, 0.0, self.bad + 1)
        cut = self.bad > self.plan.patience
        lower = torch.where(
            self.rate * (1 - self.plan.factor) > LEAST_CUT, self.rate * self.plan.factor, self.rate
        )
        self.rate = torch.where(cut, lower, self.rate)
        self.best, self.bad = self.best.masked_fill(cut, torch.inf), self.bad.masked_fill(cut, 0)
