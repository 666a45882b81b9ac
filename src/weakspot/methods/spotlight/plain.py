"""The plain form of the climb: two matrix products and hand-written gradients a step, on any torch device.

Runs are batched: k centres climb at once, their matrix-vector products joined into matrix products.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from weakspot.methods.spotlight.problem import Plan, Problem, Run, Watch

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
_THRESHOLD, _LEAST_CUT = 1e-4, 1e-8


class Plain:
    """Embeddings laid out on a device, ready for any number of runs."""

    def __init__(self, x: Float[np.ndarray, "n d"], device: torch.device) -> None:
        self.x = torch.from_numpy(x).to(device)
        self.squares = (self.x * self.x).sum(dim=1, dtype=torch.float64)
        self.device = device

    def value_and_gradient(
        self,
        problem: Problem,
        centres: Float[Tensor, "k d"],
        log_precisions: Float[Tensor, " k"],
        barrier: float,
    ) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"], Float[Tensor, "k d"], Float[Tensor, " k"]]:
        """Objective, size, and the gradient by centre and by log precision; in float64.

        With w = 1 - p·D on the support, ∂f/∂w_i = c_i·(a·y_i + b), so ∂f/∂m = 2p·Σ g_i·(x_i - m) and
        ∂f/∂log p = -p·Σ g_i·D_i.
        """
        losses = torch.from_numpy(problem.losses).to(self.device)
        counts = torch.from_numpy(problem.counts).to(self.device)
        p = log_precisions.exp()
        cross = (self.x @ centres.to(self.x.dtype).T).double()
        squares = (self.squares[:, None] - 2 * cross + (centres * centres).sum(dim=1)).clamp_(min=0)
        w = (1 - p * squares).clamp_(min=0)
        size = counts @ w
        safe = size.clamp(min=torch.finfo(torch.float64).tiny)
        loss = (counts * losses) @ w / safe
        short = (problem.size + barrier - size).clamp(min=0) / barrier
        objective = problem.sign * loss - problem.height * short * short

        a = problem.sign / safe
        b = -problem.sign * loss / safe + 2 * problem.height * short / barrier
        g = counts[:, None] * (losses[:, None] * a + b) * (w > 0)
        pull = (self.x.T @ g.to(self.x.dtype)).T.double() - g.sum(dim=0)[:, None] * centres
        return objective, size, 2 * p[:, None] * pull, -p * (g * squares).sum(dim=0)

    def climb(
        self,
        problem: Problem,
        plan: Plan,
        centres: Float[np.ndarray, "k d"],
        precisions: Float[np.ndarray, " k"],
        watch: Watch | None = None,
    ) -> Sequence[Run]:
        """Climb from every start at once; no value leaves the device until the end (or `watch` asks)."""
        m = torch.from_numpy(np.asarray(centres, dtype=np.float64) / plan.unit).to(self.device)
        log_p = torch.from_numpy(np.log(precisions)).to(self.device)
        k, steps = len(m), len(plan.barrier)
        theta = torch.cat([m, log_p[:, None]], dim=1)
        first, second = torch.zeros_like(theta), torch.zeros_like(theta)
        rate = torch.full((k,), plan.learning_rate, dtype=torch.float64, device=self.device)
        best = torch.full_like(rate, torch.inf)
        bad = torch.zeros_like(rate)
        alive = torch.ones(k, dtype=torch.bool, device=self.device)
        kept, has_kept = theta.clone(), torch.zeros_like(alive)
        history = torch.full((3, steps, k), torch.nan, dtype=torch.float64, device=self.device)

        for t, barrier in enumerate(plan.barrier):
            value, size, by_m, by_log_p = self.value_and_gradient(
                problem, theta[:, :-1] * plan.unit, theta[:, -1], float(barrier)
            )
            alive &= size > 0
            large = alive & (size >= problem.size)
            kept, has_kept = torch.where(large[:, None], theta, kept), has_kept | large

            downhill = -torch.cat([by_m * plan.unit, by_log_p[:, None]], dim=1)
            first = _BETA1 * first + (1 - _BETA1) * downhill
            second = _BETA2 * second + (1 - _BETA2) * downhill * downhill
            root = (second / (1 - _BETA2 ** (t + 1))).sqrt() + _EPSILON
            move = rate[:, None] * first / (1 - _BETA1 ** (t + 1)) / root
            theta = torch.where(alive[:, None], theta - move, theta)

            # The published plateau: a relative threshold on the *negated* objective, so that, below zero,
            # a slightly worse value still counts as better. Each cut starts the bookkeeping anew.
            better = -value < best * (1 - _THRESHOLD)
            best, bad = torch.where(better, -value, best), torch.where(better, 0.0, bad + 1)
            cut = bad > plan.patience
            lower = torch.where(rate * (1 - plan.factor) > _LEAST_CUT, rate * plan.factor, rate)
            rate, best, bad = (
                torch.where(cut, lower, rate),
                best.masked_fill(cut, torch.inf),
                bad.masked_fill(cut, 0),
            )

            history[0, t] = torch.where(alive, value, torch.nan)
            history[1, t] = torch.where(alive, size, torch.nan)
            history[2, t] = torch.where(alive, rate, torch.nan)
            if watch is not None and (t % 100 == 0 or t == steps - 1):
                watch(t, float(value.max()), float(size[value.argmax()]), float(rate[value.argmax()]))

        final = self.value_and_gradient(
            problem, theta[:, :-1] * plan.unit, theta[:, -1], float(plan.barrier[-1])
        )[1]
        alive &= final > 0
        theta = torch.where(alive[:, None], theta, kept)
        return [
            _run(theta[j], history[:, :, j], complete=bool(alive[j]), kept=bool(has_kept[j]), unit=plan.unit)
            for j in range(k)
        ]


def _run(theta: Tensor, history: Tensor, complete: bool, kept: bool, unit: float) -> Run:
    values = history[:, ~history[0].isnan()].cpu().numpy()
    end = theta.cpu().numpy()
    centre = end[:-1] * unit if complete or kept else None
    return Run(centre, float(np.exp(end[-1])), values[0], values[1], values[2], complete)
