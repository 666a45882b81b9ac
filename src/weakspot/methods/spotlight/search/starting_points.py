"""The starting points of ascents: the mean of all examples, and high losses among other high losses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from weakspot.methods.spotlight.objective import DeviceProblem, Problem
from weakspot.methods.spotlight.optim.dense import DenseOptimizer
from weakspot.methods.spotlight.optim.optimizer import OptimizationRun
from weakspot.methods.spotlight.precision import select_distinct

HIGHEST = 32
"""The number of examples with the highest losses among which starts are chosen."""

SMALL_SPOTLIGHT = 50.0
"""In spotlights of at most this many rows, single high losses make optima of their own."""

MIN_RADII_APART = 0.5
"""The minimum distance between starts, in radii."""

SAMPLE, LEAST_SAMPLED_SIZE = 5_000, 100.0
"""Starts are compared on a sample of about 5,000 rows, or more if needed for a spotlight to keep 100 of them."""

_VALUES_AT_ONCE = 1 << 20


class StartingPoints:
    """Chooses the starting points of ascents.

    Rows are taken in the order of their distance from the mean, so that the same examples are chosen however rows are
    ordered, shifted or rotated.

    Args:
        dense: An optimiser for spherical precisions over all rows.
        size: The required size T, in examples.
        total: Σ counts.
    """

    def __init__(self, dense: DenseOptimizer, size: float, total: float) -> None:
        self.dense = dense
        self.order = torch.argsort(dense.squares, stable=True)
        n = float(dense.processes.sum(torch.tensor([len(self.order)], dtype=torch.float64)))
        self.rows_of_size = size * n / total  # a row may count more than once, or less
        stride = int(min(n / SAMPLE, self.rows_of_size / LEAST_SAMPLED_SIZE))
        self.rows = self.order[:: max(1, stride)]
        self.sample = dense.take(self.rows) if len(self.rows) < len(self.order) else dense

    def at_the_mean(self) -> OptimizationRun:
        """Return the start at the mean of all examples."""
        return OptimizationRun.at(np.zeros(self.dense.dimensions), np.zeros(1))

    def at_high_losses(self, problem: Problem, count: int) -> list[OptimizationRun]:
        """Return starts at examples: half of them in the neighbourhoods with the highest losses, no two close together.

        The other half are the highest losses themselves. In large spotlights these are noise, and are left out.
        """
        device_problem = DeviceProblem.of(problem, self.dense.x.device)
        centres = self._highest_losses(device_problem)
        device_problem = device_problem if self.sample is self.dense else device_problem.take(self.rows)
        sums = torch.tensor(
            [float(device_problem.counts.sum()), float(problem.counts.sum())], dtype=torch.float64
        )
        sampled, total = self.dense.processes.sum(sums).tolist()
        device_problem = replace(
            device_problem, problem=replace(problem, size=problem.size * sampled / total)
        )
        unit = torch.zeros_like(centres[:, :1])
        # All processes must make the same number of parts.
        longest = self.dense.processes.max(torch.tensor(len(self.rows)))
        few = max(1, _VALUES_AT_ONCE // int(longest))
        parts = [self.sample.at_size(device_problem, m, unit[: len(m)]) for m in torch.split(centres, few)]
        value, factor = (torch.cat([part[i] for part in parts]) for i in (0, 3))
        parameters = self.dense.precision.scale(unit, factor[:, None])
        best = select_distinct(
            self.dense.precision, centres, parameters, value, count - count // 2, MIN_RADII_APART
        )
        highest = range(min(count // 2, len(centres)) if self.rows_of_size <= SMALL_SPOTLIGHT else 0)
        chosen = dict.fromkeys([*best, *highest])
        return [OptimizationRun.at(centres[j].cpu().numpy(), parameters[j].cpu().numpy()) for j in chosen]

    def _highest_losses(self, device_problem: DeviceProblem) -> Float[Tensor, "a d"]:
        """Return the embeddings of the highest losses of all processes, highest first."""
        gain = device_problem.problem.sign * device_problem.losses
        top = self.order[torch.argsort(gain[self.order], descending=True, stable=True)[:HIGHEST]]
        rows = self.dense.processes.gather(torch.cat([gain[top, None], self.dense.x[top].double()], dim=1))
        return rows[torch.argsort(rows[:, 0], descending=True, stable=True)[:HIGHEST], 1:]
