"""`search=multistart`: several ascents at fixed size, of which the best is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from weakspot.methods.float32_products import float32_products
from weakspot.methods.spotlight.objective import Problem
from weakspot.methods.spotlight.optim.optimizer import (
    STEPS_PER_SIZE,
    AdamSchedule,
    OnStep,
    OptimizationRun,
    Optimizer,
)
from weakspot.methods.spotlight.precision import select_distinct
from weakspot.methods.spotlight.search.adam_run import AdamRun
from weakspot.methods.spotlight.search.starting_points import StartingPoints

ROUGH_GAIN, FINE_GAIN, FINE_ASCENTS, MAX_DEFICIT = 1e-5, 1e-9, 6, 3e-4
"""Relative gains of the objective below which rough and fine ascents end; how many runs are refined, and how far
below the best they may be for that, as a share.
"""

SAME_RADII = 1e-2
"""Optima closer than this share of a radius count as one."""

TIE = 1e-10
"""Optima that differ by no more than this share count as equal; the one nearest the mean is then chosen."""

_SWEEP_FROM = 0.9


@dataclass(frozen=True)
class Multistart:
    """Searches for one spotlight from several starts.

    The end of a run is given by its centre and the shape of its precision; the precision's scale follows from the size.

    Attributes:
        optimizer: The optimiser for the requested kind of precision.
        spherical: The optimiser for spherical precisions; the same one if that is the requested kind.
        starts: Where ascents start.
        count: The largest number of starts at high losses.
        size: The required size T, in examples.
        total: Σ counts.
    """

    optimizer: Optimizer
    spherical: Optimizer
    starts: StartingPoints
    count: int
    size: float
    total: float

    @property
    def steps(self) -> int:
        """Return how many steps the ascents count as in the progress."""
        return STEPS_PER_SIZE * (len(self._sweep_sizes()) + self.count + 1 + FINE_ASCENTS)

    @float32_products()
    def best(
        self, problem: Problem, schedule: AdamSchedule, adam: AdamRun, on_step: OnStep | None
    ) -> OptimizationRun:
        """Return the best run.

        Ascents start at high losses; one sweeps from nearly all examples to the required size; one continues a run of
        Adam like the published one. Precisions that are not spherical continue from the best sphere, by Adam.

        Args:
            problem: What is maximised.
            schedule: The schedule of Adam for precisions that are not spherical.
            adam: The run of Adam, from the mean.
            on_step: Called with the progress.
        """
        high = self.starts.at_high_losses(problem, self.count)
        ends = [
            *self.spherical.ascend(
                problem, [self.starts.at_the_mean()], self._sweep_sizes(), ROUGH_GAIN, on_step
            ),
            *self.spherical.ascend(problem, high, [self.size], ROUGH_GAIN, on_step),
        ]
        if self.optimizer is not self.spherical:
            ends = self._with_own_precision(
                problem, self._refine(self.spherical, problem, ends, on_step), schedule, on_step
            )
        run = adam.run(self.optimizer, on_step)
        if run.centre is not None:
            start = OptimizationRun.at(run.centre, run.parameters)
            ends += self.optimizer.ascend(problem, [start], [self.size], ROUGH_GAIN, on_step)
        return self._refine(self.optimizer, problem, ends, on_step)

    def _with_own_precision(
        self, problem: Problem, sphere: OptimizationRun, schedule: AdamSchedule, on_step: OnStep | None
    ) -> list[OptimizationRun]:
        """Continue from the best sphere with the requested kind of precision."""
        assert sphere.centre is not None
        parameters = self.optimizer.precision.isotropic(np.exp(sphere.parameters), len(sphere.centre))
        (run,) = self.optimizer.adam(problem, schedule, sphere.centre[None], parameters, on_step)
        starts = [OptimizationRun.at(sphere.centre, parameters[0])]
        if run.centre is not None:
            starts.append(OptimizationRun.at(run.centre, run.parameters))
        return self.optimizer.ascend(problem, starts, [self.size], ROUGH_GAIN, on_step)

    def _sweep_sizes(self) -> list[float]:
        """Return sizes from nearly all examples to the required one, each at least half as large as the one before."""
        first = max(_SWEEP_FROM * self.total, self.size)
        halvings = int(np.ceil(np.log2(first / self.size) - 1e-9))
        return [float(size) for size in np.geomspace(first, self.size, halvings + 1)]

    def _refine(
        self, optimizer: Optimizer, problem: Problem, ends: Sequence[OptimizationRun], on_step: OnStep | None
    ) -> OptimizationRun:
        """Return the best of the runs, after refining those near it in value."""
        centres, parameters, values = (
            torch.from_numpy(np.stack(arrays))
            for arrays in zip(*((end.centre, end.parameters, end.value) for end in ends), strict=True)
        )
        near = [
            ends[j]
            for j in select_distinct(
                optimizer.precision, centres, parameters, values, FINE_ASCENTS, SAME_RADII
            )
            if values[j] >= values.max() - MAX_DEFICIT * abs(values.max())
        ]
        fine = optimizer.ascend(problem, near, [self.size], FINE_GAIN, on_step)
        highest = max(end.value for end in fine)
        tied = [end for end in fine if highest - end.value <= TIE * abs(highest)]
        return min(tied, key=_distance_from_mean)


def _distance_from_mean(run: OptimizationRun) -> float:
    assert run.centre is not None
    return float(np.linalg.norm(run.centre))
