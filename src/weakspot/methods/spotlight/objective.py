"""The objective and its slopes, from the weighted sums that it depends on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from weakspot.methods.spotlight.problem import LEAST_SHARE, Problem
from weakspot.methods.spotlight.world import World


@dataclass(frozen=True)
class Laid:
    """A problem laid out on a device."""

    losses: Float[Tensor, " n"]
    counts: Float[Tensor, " n"]
    codes: tuple[Int[Tensor, " n"], ...]
    problem: Problem

    @classmethod
    def out(cls, problem: Problem, device: torch.device) -> Laid:
        codes = tuple(torch.from_numpy(penalty.codes).to(device) for penalty in problem.penalties)
        losses, counts = (torch.from_numpy(array).to(device) for array in (problem.losses, problem.counts))
        return cls(losses, counts, codes, problem)

    def take(self, rows: Int[Tensor, " a"]) -> Laid:
        return Laid(
            self.losses[rows], self.counts[rows], tuple(codes[rows] for codes in self.codes), self.problem
        )


def value_and_slopes(
    w: Float[Tensor, "n k"], laid: Laid, barrier: float | None, world: World
) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"], Float[Tensor, "n k"]]:
    """Objective, size and ∂objective/∂w, for the weights of k spotlights; no barrier if it is None.

    L = Σ c·w·y / S has the slopes c·(y - L) / S; an entropy H of shares π (in bits) has the slopes
    -c·(log₂ π + H) / S; sizes short of T + b cost height·((S - T - b) / b)².
    """
    problem = laid.problem
    mass = laid.counts[:, None] * w
    parts = [mass.sum(dim=0)[None], (laid.losses @ mass)[None]]
    for codes, penalty in zip(laid.codes, problem.penalties, strict=True):
        parts.append(mass.new_zeros((penalty.categories, w.shape[1])).index_add_(0, codes, mass))
    sums = world.sum(torch.cat(parts))
    size = sums[0]
    safe = size.clamp(min=torch.finfo(size.dtype).tiny)
    loss = sums[1] / safe
    objective = problem.sign * loss
    flat = -problem.sign * loss / safe
    if barrier is not None:
        short = (problem.size + barrier - size).clamp(min=0) / barrier
        objective = objective - problem.height * short * short
        flat = flat + 2 * problem.height * short / barrier
    slopes = laid.losses[:, None] * (problem.sign / safe) + flat
    begin = 2
    for codes, penalty in zip(laid.codes, problem.penalties, strict=True):
        shares = sums[begin : begin + penalty.categories] / safe
        begin += penalty.categories
        logs = shares.clamp(min=LEAST_SHARE).log()
        price = penalty.weight / math.log(2)
        entropy = -(shares * logs).sum(dim=0)
        objective = objective - price * entropy
        slopes = slopes + (price / safe * (logs + entropy))[codes]
    return objective, size, laid.counts[:, None] * slopes
