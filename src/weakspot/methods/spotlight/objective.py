"""The objective of a spotlight, and its derivatives with respect to the kernel weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from weakspot.methods.distributed import ProcessGroup

LEAST_SHARE = float(np.finfo(np.float32).eps)
"""Smaller shares count as this much in the logarithm of an entropy."""


@dataclass(frozen=True)
class EntropyPenalty:
    """A penalty on the entropy of the labels, or predictions, inside the spotlight.

    Attributes:
        codes: (n,) the category of every example.
        categories: The number of categories.
        weight: The cost per bit.
    """

    codes: Int[np.ndarray, " n"]
    categories: int
    weight: float


@dataclass(frozen=True)
class Problem:
    """The problem of maximising sign·L - barrier - penalties over centres and precisions (paper, §3).

    Attributes:
        losses: (n,) the losses y.
        counts: (n,) multiplicities c.
        size: T, the minimum of the size S = Σ c·w.
        barrier_cost: What the barrier costs at S = T, in units of the loss.
        sign: +1 for high losses, -1 for low ones.
    """

    losses: Float[np.ndarray, " n"]
    counts: Float[np.ndarray, " n"]
    size: float
    barrier_cost: float
    sign: float = 1.0
    penalties: tuple[EntropyPenalty, ...] = ()


@dataclass(frozen=True)
class DeviceProblem:
    """Holds a problem with its arrays on a device.

    Attributes:
        losses: (n,)
        counts: (n,)
        codes: (n,) of each penalty.
        problem: The problem.
    """

    losses: Float[Tensor, " n"]
    counts: Float[Tensor, " n"]
    codes: tuple[Int[Tensor, " n"], ...]
    problem: Problem

    @classmethod
    def of(cls, problem: Problem, device: torch.device) -> DeviceProblem:
        """Copy the arrays of a problem to a device."""
        codes = tuple(torch.from_numpy(penalty.codes).to(device) for penalty in problem.penalties)
        losses, counts = (torch.from_numpy(array).to(device) for array in (problem.losses, problem.counts))
        return cls(losses, counts, codes, problem)

    def take(self, rows: Int[Tensor, " a"]) -> DeviceProblem:
        """Return the problem over some of the rows."""
        return DeviceProblem(
            self.losses[rows], self.counts[rows], tuple(codes[rows] for codes in self.codes), self.problem
        )


def value_and_slopes(
    w: Float[Tensor, "n k"], device_problem: DeviceProblem, barrier: float | None, processes: ProcessGroup
) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"], Float[Tensor, "n k"]]:
    """Return objective, size S = Σ c·w and ∂objective/∂w of k spotlights.

    L = Σ c·w·y / S has the slopes c·(y - L) / S; an entropy H of shares π (in bits) has the slopes
    -c·(log₂ π + H) / S; sizes below T + b cost barrier_cost·((S - T - b) / b)².

    Args:
        w: (n, k) the kernel weights of the rows that this process holds.
        device_problem: The problem.
        barrier: The barrier's width b, in examples; None for no barrier.
        processes: The processes.

    Returns:
        (k,), (k,) and (n, k).
    """
    problem = device_problem.problem
    mass = device_problem.counts[:, None] * w
    parts = [mass.sum(dim=0)[None], (device_problem.losses @ mass)[None]]
    for codes, penalty in zip(device_problem.codes, problem.penalties, strict=True):
        parts.append(mass.new_zeros((penalty.categories, w.shape[1])).index_add_(0, codes, mass))
    sums = processes.sum(torch.cat(parts))
    size = sums[0]
    safe = size.clamp(min=torch.finfo(size.dtype).tiny)
    loss = sums[1] / safe
    objective = problem.sign * loss
    mass_slope = -problem.sign * loss / safe
    if barrier is not None:
        short = (problem.size + barrier - size).clamp(min=0) / barrier
        objective = objective - problem.barrier_cost * short * short
        mass_slope = mass_slope + 2 * problem.barrier_cost * short / barrier
    slopes = device_problem.losses[:, None] * (problem.sign / safe) + mass_slope
    begin = 2
    for codes, penalty in zip(device_problem.codes, problem.penalties, strict=True):
        shares = sums[begin : begin + penalty.categories] / safe
        begin += penalty.categories
        logs = shares.clamp(min=LEAST_SHARE).log()
        price = penalty.weight / math.log(2)
        entropy = -(shares * logs).sum(dim=0)
        objective = objective - price * entropy
        slopes = slopes + (price / safe * (logs + entropy))[codes]
    return objective, size, device_problem.counts[:, None] * slopes
