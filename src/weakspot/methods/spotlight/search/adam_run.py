"""A run of Adam, as the Spotlight was published: from nearly all examples to few, by a barrier that narrows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from weakspot.methods.spotlight.objective import Problem
from weakspot.methods.spotlight.optim.optimizer import AdamSchedule, OnStep, OptimizationRun, Optimizer


@dataclass(frozen=True)
class AdamRun:
    """Makes the published run, or the same from elsewhere and in other units.

    Attributes:
        problem: What is maximised.
        schedule: Of Adam, with the unit in which the run is made.
        start: (d,) where it starts, in working units; as published, at the embedding's origin.
    """

    problem: Problem
    schedule: AdamSchedule
    start: Float[np.ndarray, " d"]

    def run(self, optimizer: Optimizer, on_step: OnStep | None) -> OptimizationRun:
        """Run Adam, with the published precision first."""
        precision = np.array([optimizer.precision.published_start / self.schedule.unit**2])
        parameters = optimizer.precision.isotropic(precision, len(self.start))
        return optimizer.adam(self.problem, self.schedule, self.start[None], parameters, on_step)[0]
