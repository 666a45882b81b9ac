"""Where ascents start: at the mean of all examples, and at high losses among other high losses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from weakspot.methods.spotlight.objective import DeviceProblem, Problem
from weakspot.methods.spotlight.optim.dense import Dense
from weakspot.methods.spotlight.optim.run import Run
from weakspot.methods.spotlight.precision import apart

HIGHEST = 32
"""Examples of the highest losses, among which starts are chosen."""

FEW = 50.0
"""Rows in a spotlight, among so few of which single high losses make optima of their own."""

HALF_A_RADIUS = 0.5
"""Starts lie at least so far apart."""

SAMPLE, LEAST_SAMPLED_SIZE = 5_000, 100.0
"""They are compared on about so many rows, as long as a spotlight keeps so many examples there."""

_VALUES_AT_ONCE = 1 << 20


class Starts:
    """Rows are taken in the order of their distance from the mean, so that the same examples are chosen however
    rows are ordered, shifted or turned.
    """

    def __init__(self, dense: Dense, size: float, total: float) -> None:
        self.dense = dense
        self.order = torch.argsort(dense.squares, stable=True)
        n = float(dense.world.sum(torch.tensor([len(self.order)], dtype=torch.float64)))
        self.rows_of_size = size * n / total  # a row may count more than once, or less
        stride = int(min(n / SAMPLE, self.rows_of_size / LEAST_SAMPLED_SIZE))
        self.rows = self.order[:: max(1, stride)]
        self.sample = dense.take(self.rows) if len(self.rows) < len(self.order) else dense

    def at_the_mean(self) -> Run:
        return Run.at(np.zeros(self.dense.dimensions), np.zeros(1))

    def at_high_losses(self, problem: Problem, count: int) -> list[Run]:
        """Spheres around examples: half of them where neighbourhoods lose most, no two of those near each other.

        The others are the highest losses themselves. Among many examples these are noise, and left out.
        """
        given = DeviceProblem.of(problem, self.dense.x.device)
        centres = self._highest(given)
        given = given if self.sample is self.dense else given.take(self.rows)
        sums = torch.tensor([float(given.counts.sum()), float(problem.counts.sum())], dtype=torch.float64)
        sampled, total = self.dense.world.sum(sums).tolist()
        given = replace(given, problem=replace(problem, size=problem.size * sampled / total))
        unit = torch.zeros_like(centres[:, :1])
        longest = self.dense.world.largest(
            torch.tensor(len(self.rows))
        )  # so that all processes make as many parts
        few = max(1, _VALUES_AT_ONCE // int(longest))
        parts = [self.sample.at_size(given, m, unit[: len(m)]) for m in torch.split(centres, few)]
        value, factor = (torch.cat([part[i] for part in parts]) for i in (0, 3))
        shapes = self.dense.form.scaled(unit, factor[:, None])
        best = apart(self.dense.form, centres, shapes, value, count - count // 2, HALF_A_RADIUS)
        alone = range(min(count // 2, len(centres)) if self.rows_of_size <= FEW else 0)
        chosen = dict.fromkeys([*best, *alone])
        return [Run.at(centres[j].cpu().numpy(), shapes[j].cpu().numpy()) for j in chosen]

    def _highest(self, given: DeviceProblem) -> Float[Tensor, "a d"]:
        gain = given.problem.sign * given.losses
        top = self.order[torch.argsort(gain[self.order], descending=True, stable=True)[:HIGHEST]]
        rows = self.dense.world.gather(torch.cat([gain[top, None], self.dense.x[top].double()], dim=1))
        return rows[torch.argsort(rows[:, 0], descending=True, stable=True)[:HIGHEST], 1:]
