"""`search=published`: one run of Adam; as published, from the embedding's raw origin and in raw units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from weakspot.methods.spotlight.objective import Problem
from weakspot.methods.spotlight.optim.optimizer import AdamSchedule, OnStep, OptimizationRun, Optimizer


@dataclass(frozen=True)
class PublishedRun:
    """Makes the published run.

    Attributes:
        problem: What is maximised.
        schedule: Of Adam, with the unit in which the run is made.
        start: (d,) where it starts, in working units: as published, the embedding's origin.
    """

    problem: Problem
    schedule: AdamSchedule
    start: Float[np.ndarray, " d"]

    def run(self, optimizer: Optimizer, on_step: OnStep | None) -> OptimizationRun:
        """Run Adam, with the published precision first."""
        precision = np.array([optimizer.precision.published_start / self.schedule.unit**2])
        parameters = optimizer.precision.isotropic(precision, len(self.start))
        return optimizer.adam(self.problem, self.schedule, self.start[None], parameters, on_step)[0]
