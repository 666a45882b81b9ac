"""The interface of the optimisers: how a run ascends, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from jaxtyping import Float

from weakspot.methods.spotlight.objective import Problem
from weakspot.methods.spotlight.optim.bfgs import Descent
from weakspot.methods.spotlight.precision import Precision

OnStep = Callable[[int, float, float, float | None], None]
"""Called from time to time with (steps since the last call, objective, size, learning rate if there is one)."""

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's constants."""

FIRST_MOVE = 0.1
"""The first step of an ascent at fixed size, as a share of the radius."""

STEPS_PER_SIZE = 100
"""The steps that an ascent at one size counts as in the progress."""

PLATEAU_THRESHOLD, LEAST_CUT = 1e-4, 1e-8
"""A relative gain below the first does not count; the learning rate is not cut by less than the second."""


@dataclass(frozen=True)
class AdamSchedule:
    """The schedule of a run of Adam: the learning rate is cut on plateaus, and the barrier narrows.

    Attributes:
        barrier: (steps,) widths b_t in examples, wide to narrow.
        unit: Length of one unit of the centre, in working units: Adam's steps are not scale-free.
    """

    barrier: Float[np.ndarray, " steps"]
    learning_rate: float
    patience: int
    factor: float
    unit: float = 1.0


@dataclass(frozen=True)
class OptimizationRun:
    """Holds where a run ended, in working units, and its history.

    Attributes:
        centre: (d,) m; None if no iterate was large enough.
        parameters: (s,) θ of the precision (see `precision`).
        objective: (steps,) the objective's history.
        size: (steps,) the size's history; for an ascent at a fixed size, that size.
        learning_rate: (steps,) of Adam; None for an ascent at a fixed size.
        complete: False if the spotlight lost every example on the way: the end is then the last iterate that was
            large enough, and the histories stop there.
        rows_read: How many rows were read, if that is counted.
        step_length: (steps,) of an ascent at a fixed size, in working units; None for Adam.
    """

    centre: Float[np.ndarray, " d"] | None
    parameters: Float[np.ndarray, " s"]
    objective: Float[np.ndarray, " steps"]
    size: Float[np.ndarray, " steps"]
    learning_rate: Float[np.ndarray, " steps"] | None
    complete: bool
    rows_read: int = 0
    step_length: Float[np.ndarray, " steps"] | None = None

    @classmethod
    def at(cls, centre: Float[np.ndarray, " d"], parameters: Float[np.ndarray, " s"]) -> OptimizationRun:
        """Return a run that starts here and has made no steps."""
        nothing = np.empty(0)
        return cls(centre, parameters, nothing, nothing, None, complete=True, step_length=nothing)

    def after(
        self,
        descent: Descent,
        size: float,
        centre: Float[np.ndarray, " d"],
        parameters: Float[np.ndarray, " s"],
    ) -> OptimizationRun:
        """Return this run continued by an ascent at a fixed size; its history is appended."""
        assert self.step_length is not None
        points = int(descent.state["steps"]) + 1
        objective = np.append(self.objective, -descent.values[:points])
        lengths = np.append(self.step_length, descent.lengths[:points])
        fixed_sizes = np.append(self.size, np.full(points, size))
        return replace(
            self,
            centre=centre,
            parameters=parameters,
            objective=objective,
            size=fixed_sizes,
            step_length=lengths,
        )

    @property
    def value(self) -> float:
        """Return the objective at the end."""
        return float(self.objective[-1])

    @property
    def history(self) -> dict[str, np.ndarray]:
        """Return the available histories by name."""
        curves = {name: getattr(self, name) for name in ("objective", "size", "learning_rate", "step_length")}
        return {name: curve for name, curve in curves.items() if curve is not None}


class Optimizer(Protocol):
    """Ascends from given starts: `DenseOptimizer`, or `LazyOptimizer` for spherical precision on the CPU."""

    precision: Precision

    def adam(
        self,
        problem: Problem,
        schedule: AdamSchedule,
        centres: Float[np.ndarray, "k d"],
        parameters: Float[np.ndarray, "k s"],
        on_step: OnStep | None = None,
    ) -> Sequence[OptimizationRun]:
        """Run the published optimiser, Adam; a narrowing barrier controls the size.

        Args:
            problem: What is maximised.
            schedule: The barrier and the learning rate.
            centres: (k, d) where the runs start.
            parameters: (k, s) θ of the precisions that the runs start with.
            on_step: Called with the progress.
        """

    def ascend(
        self,
        problem: Problem,
        starts: Sequence[OptimizationRun],
        fixed_sizes: Sequence[float],
        least_gain: float,
        on_step: OnStep | None = None,
    ) -> list[OptimizationRun]:
        """Run BFGS at exactly each of the sizes in turn, continuing the given runs.

        The value of an ascent is the objective without barrier, over all rows.

        Args:
            problem: What is maximised.
            starts: The runs to continue.
            fixed_sizes: The sizes T, in examples.
            least_gain: An ascent ends with three gains in a row below this share of the objective.
            on_step: Called with the progress.
        """
