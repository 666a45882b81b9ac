"""The published run of Adam, which goes from nearly all examples to few by means of a narrowing barrier."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from weakspot.methods.spotlight.objective import Problem
from weakspot.methods.spotlight.optim.optimizer import AdamSchedule, OnStep, OptimizationRun, Optimizer


@dataclass(frozen=True)
class AdamRun:
    """The published run, or the same from another start and in other units.

    Attributes:
        problem: What is maximised.
        schedule: The schedule of Adam, with the unit of the run.
        start: (d,) where it starts, in working units; in the published run, at the embedding's origin.
    """

    problem: Problem
    schedule: AdamSchedule
    start: Float[np.ndarray, " d"]

    def run(self, optimizer: Optimizer, on_step: OnStep | None) -> OptimizationRun:
        """Run Adam, starting from the published precision."""
        precision = np.array([optimizer.precision.published_start / self.schedule.unit**2])
        parameters = optimizer.precision.isotropic(precision, len(self.start))
        return optimizer.adam(self.problem, self.schedule, self.start[None], parameters, on_step)[0]
