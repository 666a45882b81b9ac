"""The plain climb: two matrix products and hand-written gradients a step, in torch, on any device.

Runs are batched: k centres climb at once, their matrix-vector products joined into matrix products. Nothing
but reduced sums is needed of rows held elsewhere, so the same code serves a sharded search (see `world`).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from weakspot.methods.spotlight.forms import Form
from weakspot.methods.spotlight.objective import Laid, value_and_slopes
from weakspot.methods.spotlight.problem import (
    BETA1,
    BETA2,
    EPSILON,
    LEAST_CUT,
    PLATEAU_THRESHOLD,
    Plan,
    Problem,
    Run,
    Watch,
)
from weakspot.methods.spotlight.world import World

STEPS_PER_CALL = 100
_ROWS, _FEW_ROWS = 1 << 14, 1 << 10
_ROWS_IN_DOUBLE = 5000


class Field:
    """Embeddings on a device, and what searches ask of them."""

    def __init__(self, x: Float[Tensor, "n d"], form: Form, world: World) -> None:
        self.x = x
        self.squares = x.new_empty(len(x), dtype=torch.float64)
        for part, out in zip(torch.split(x, _FEW_ROWS), torch.split(self.squares, _FEW_ROWS), strict=True):
            torch.sum(part * part, dim=1, dtype=torch.float64, out=out)
        self.form = form
        self.world = world

    def __len__(self) -> int:
        return len(self.x)

    @property
    def dimensions(self) -> int:
        return self.x.shape[1]

    def take(self, rows: Int[Tensor, " a"], origin: Float[Tensor, " d"] | None = None) -> Field:
        """The field of some rows; from another origin, it is seen in float64 as long as they are few."""
        if origin is None:
            return Field(self.x[rows], self.form, self.world)
        dtype = torch.float64 if len(rows) <= _ROWS_IN_DOUBLE else self.x.dtype
        away = self.x.new_empty((len(rows), self.dimensions), dtype=dtype)
        for part, some in zip(torch.split(away, _FEW_ROWS), torch.split(rows, _FEW_ROWS), strict=True):
            part.copy_(self.x[some].double() - origin)
        return Field(away, self.form, self.world)

    def flattened(self) -> tuple[Field, Float[Tensor, "d s"]]:
        """The same rows in float64 in an orthonormal basis of their span, and that basis; as they are, if they fill
        all of space. The best centre of a sphere lies in the span.
        """
        x = self.x.double()
        if len(x) >= self.dimensions:
            return Field(x, self.form, self.world), torch.eye(self.dimensions, dtype=x.dtype, device=x.device)
        axes: Tensor = torch.linalg.qr(x.T).Q
        return Field(x @ axes, self.form, self.world), axes

    def of(self, form: Form) -> Field:
        """The same rows, for precisions of another form."""
        field = copy(self)
        field.form = form
        return field

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

    def apart(
        self,
        m: Float[Tensor, "k d"],
        shape: Float[Tensor, "k s"],
        value: Float[Tensor, " k"],
        count: int,
        radii: float,
    ) -> list[int]:
        """The best `count` of k spotlights, leaving out those within so many radii of a better one."""
        q = self.form.quadratic(m, (m * m).sum(dim=1), m, shape)
        chosen: list[int] = []
        for j in torch.argsort(value, descending=True, stable=True).tolist():
            if len(chosen) < count and bool((q[chosen, j] > radii**2).all()):
                chosen.append(j)
        return chosen

    def value_and_gradient(
        self, laid: Laid, m: Float[Tensor, "k d"], shape: Float[Tensor, "k s"], barrier: float
    ) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"], Float[Tensor, "k d"], Float[Tensor, "k s"]]:
        """Objective, size, and the objective's gradient by centre and by shape."""
        q = self.quadratic(m, shape)
        w = (1 - q).clamp_(min=0)
        objective, size, slopes = value_and_slopes(w, laid, barrier, self.world)
        return objective, size, *self.gradient(slopes * (w > 0), q, m, shape)

    def climb(
        self,
        problem: Problem,
        plan: Plan,
        centres: Float[np.ndarray, "k d"],
        shapes: Float[np.ndarray, "k s"],
        watch: Watch | None = None,
    ) -> Sequence[Run]:
        """Climb from every start at once; no value leaves the device before the end, unless `watch` asks."""
        laid = Laid.out(problem, self.x.device)
        climb = _Climb.start(self.tensor(np.concatenate([centres / plan.unit, shapes], axis=1)), plan)
        history = torch.full((3, len(plan.barrier), len(centres)), torch.nan, dtype=torch.float64)
        history = history.to(self.x.device)
        for t, barrier in enumerate(plan.barrier):
            m, shape = self._split(climb.theta, plan)
            value, size, by_m, by_shape = self.value_and_gradient(laid, m, shape, float(barrier))
            climb.step(t, value, size, torch.cat([by_m * plan.unit, by_shape], dim=1), problem.size)
            climb.theta[:, self.dimensions :] = self.form.settle(climb.theta[:, self.dimensions :])
            history[:, t] = torch.where(climb.alive, torch.stack([value, size, climb.rate]), torch.nan)
            done = t + 1
            if watch is not None and (done % STEPS_PER_CALL == 0 or done == len(plan.barrier)):
                steps = (done - 1) % STEPS_PER_CALL + 1
                watch(steps * len(centres), *history[:, t, int(value.argmax())].tolist())
        return self._end(climb, plan, history.cpu().numpy())

    def _split(
        self, theta: Float[Tensor, "k t"], plan: Plan
    ) -> tuple[Float[Tensor, "k d"], Float[Tensor, "k s"]]:
        return theta[:, : self.dimensions] * plan.unit, theta[:, self.dimensions :]

    def _end(self, climb: _Climb, plan: Plan, history: Float[np.ndarray, "3 steps k"]) -> list[Run]:
        m, shape = self._split(climb.theta, plan)
        inside = self.world.sum((self.quadratic(m, shape) < 1).sum(dim=0))
        alive = climb.alive & (inside > 0)
        m, shape = self._split(torch.where(alive[:, None], climb.theta, climb.kept), plan)
        there = alive | climb.has_kept
        runs = []
        for j in range(len(m)):
            objective, size, rate = history[:, ~np.isnan(history[0, :, j]), j]
            centre = m[j].cpu().numpy() if there[j] else None
            runs.append(Run(centre, shape[j].cpu().numpy(), objective, size, rate, bool(alive[j])))
        return runs


@dataclass
class _Climb:
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
    def start(cls, theta: Float[Tensor, "k t"], plan: Plan) -> _Climb:
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
