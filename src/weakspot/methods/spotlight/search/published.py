"""`search=published`: one run of Adam from the embedding's raw origin, in raw units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from weakspot.methods.spotlight.objective import Problem
from weakspot.methods.spotlight.optim.run import Engine, Plan, Run, Watch


@dataclass(frozen=True)
class Published:
    """The published run; `origin` is the embedding's, in working units."""

    problem: Problem
    plan: Plan
    origin: Float[np.ndarray, " d"]

    def run(self, engine: Engine, watch: Watch | None) -> Run:
        precision = np.array([engine.form.published / self.plan.unit**2])
        shapes = engine.form.start(precision, len(self.origin))
        return engine.adam(self.problem, self.plan, self.origin[None], shapes, watch)[0]
