"""`search=published`: one run of Adam from the embedding's raw origin, in raw units."""

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
        schedule: Of Adam.
        origin: (d,) the embedding's origin in working units, where the run starts.
    """

    problem: Problem
    schedule: AdamSchedule
    origin: Float[np.ndarray, " d"]

    def run(self, optimizer: Optimizer, on_step: OnStep | None) -> OptimizationRun:
        """Run Adam from the origin, with the published precision."""
        precision = np.array([optimizer.precision.published_start / self.schedule.unit**2])
        parameters = optimizer.precision.isotropic(precision, len(self.origin))
        return optimizer.adam(self.problem, self.schedule, self.origin[None], parameters, on_step)[0]
