"""What is maximised: the problem, and its objective and slopes from the weighted sums that it depends on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from weakspot.methods.distributed import World

LEAST_SHARE = float(np.finfo(np.float32).eps)
"""Shares below this count as this much in the logarithm of an entropy."""


@dataclass(frozen=True)
class Penalty:
    """Costs `weight` per bit of entropy of a category (label or prediction) inside the spotlight."""

    codes: Int[np.ndarray, " n"]
    categories: int
    weight: float


@dataclass(frozen=True)
class Problem:
    """Maximise sign·L - barrier - penalties over centres and precisions (paper, §3).

    losses   (n,)   what the spotlight looks for
    counts   (n,)   multiplicities c
    size     T, the least Σ c·w
    height   what the barrier costs at S = T, in units of the loss
    sign     +1 for high losses, -1 for low ones
    """

    losses: Float[np.ndarray, " n"]
    counts: Float[np.ndarray, " n"]
    size: float
    height: float
    sign: float = 1.0
    penalties: tuple[Penalty, ...] = ()


@dataclass(frozen=True)
class DeviceProblem:
    """A problem, its arrays on a device."""

    losses: Float[Tensor, " n"]
    counts: Float[Tensor, " n"]
    codes: tuple[Int[Tensor, " n"], ...]
    problem: Problem

    @classmethod
    def of(cls, problem: Problem, device: torch.device) -> DeviceProblem:
        codes = tuple(torch.from_numpy(penalty.codes).to(device) for penalty in problem.penalties)
        losses, counts = (torch.from_numpy(array).to(device) for array in (problem.losses, problem.counts))
        return cls(losses, counts, codes, problem)

    def take(self, rows: Int[Tensor, " a"]) -> DeviceProblem:
        return DeviceProblem(
            self.losses[rows], self.counts[rows], tuple(codes[rows] for codes in self.codes), self.problem
        )


def value_and_slopes(
    w: Float[Tensor, "n k"], given: DeviceProblem, barrier: float | None, world: World
) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"], Float[Tensor, "n k"]]:
    """Objective, size and ∂objective/∂w, for the weights of k spotlights; no barrier if it is None.

    L = Σ c·w·y / S has the slopes c·(y - L) / S; an entropy H of shares π (in bits) has the slopes
    -c·(log₂ π + H) / S; sizes short of T + b cost height·((S - T - b) / b)².
    """
    problem = given.problem
    mass = given.counts[:, None] * w
    parts = [mass.sum(dim=0)[None], (given.losses @ mass)[None]]
    for codes, penalty in zip(given.codes, problem.penalties, strict=True):
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
    slopes = given.losses[:, None] * (problem.sign / safe) + flat
    begin = 2
    for codes, penalty in zip(given.codes, problem.penalties, strict=True):
        shares = sums[begin : begin + penalty.categories] / safe
        begin += penalty.categories
        logs = shares.clamp(min=LEAST_SHARE).log()
        price = penalty.weight / math.log(2)
        entropy = -(shares * logs).sum(dim=0)
        objective = objective - price * entropy
        slopes = slopes + (price / safe * (logs + entropy))[codes]
    return objective, size, given.counts[:, None] * slopes
