"""How a run ascends and what it returns, whichever engine it runs in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from jaxtyping import Float

from weakspot.methods.spotlight.objective import Problem
from weakspot.methods.spotlight.optim.bfgs import Descent
from weakspot.methods.spotlight.precision import Form

Watch = Callable[[int, float, float, float | None], None]
"""Called now and then with (steps done since the last call, objective, size, learning rate if there is one)."""

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's."""

FIRST_MOVE = 0.1
"""The first step of an ascent at fixed size, as a share of the radius."""

STEPS_PER_SIZE = 100
"""For progress: what an ascent at one size is taken to cost."""

PLATEAU_THRESHOLD, LEAST_CUT = 1e-4, 1e-8
"""What counts as a gain, relatively; cuts of the learning rate smaller than this are not made."""


@dataclass(frozen=True)
class Plan:
    """How one run ascends: Adam, its learning rate cut on plateaus.

    barrier  (steps,) widths b_t in examples, wide to narrow
    unit     length of one unit of the centre, in working units: Adam's steps are not scale-free
    """

    barrier: Float[np.ndarray, " steps"]
    learning_rate: float
    patience: int
    factor: float
    unit: float = 1.0


@dataclass(frozen=True)
class Run:
    """Where a run ended, in working units, and how it went.

    `shape` holds the parameters of the precision in its form (see `precision`). `complete` is False if the
    spotlight lost every example on the way: the end is then the last iterate that was large enough, and the
    histories stop there. `centre` is None if there was no such iterate. Adam's runs have a learning rate;
    ascents at fixed size have the length of each step instead, in working units.
    """

    centre: Float[np.ndarray, " d"] | None
    shape: Float[np.ndarray, " s"]
    objective: Float[np.ndarray, " steps"]
    size: Float[np.ndarray, " steps"]
    learning_rate: Float[np.ndarray, " steps"] | None
    complete: bool
    rows_read: int = 0
    step_length: Float[np.ndarray, " steps"] | None = None

    @classmethod
    def at(cls, centre: Float[np.ndarray, " d"], shape: Float[np.ndarray, " s"]) -> Run:
        """Of no step yet."""
        nothing = np.empty(0)
        return cls(centre, shape, nothing, nothing, None, complete=True, step_length=nothing)

    def after(
        self,
        descent: Descent,
        size: float,
        centre: Float[np.ndarray, " d"],
        shape: Float[np.ndarray, " s"],
    ) -> Run:
        """Continued by an ascent at a fixed size; the histories go on from where it started."""
        assert self.step_length is not None
        points = int(descent.state["steps"]) + 1
        objective = np.append(self.objective, -descent.values[:points])
        lengths = np.append(self.step_length, descent.lengths[:points])
        sizes = np.append(self.size, np.full(points, size))
        return replace(self, centre=centre, shape=shape, objective=objective, size=sizes, step_length=lengths)

    @property
    def value(self) -> float:
        """The objective at the end."""
        return float(self.objective[-1])

    @property
    def history(self) -> dict[str, np.ndarray]:
        curves = {name: getattr(self, name) for name in ("objective", "size", "learning_rate", "step_length")}
        return {name: curve for name, curve in curves.items() if curve is not None}


class Engine(Protocol):
    """What ascends from given starts: `Dense`, or `Lazy` for spherical precision on the CPU."""

    form: Form

    def adam(
        self,
        problem: Problem,
        plan: Plan,
        centres: Float[np.ndarray, "k d"],
        shapes: Float[np.ndarray, "k s"],
        watch: Watch | None = None,
    ) -> Sequence[Run]:
        """The published optimiser: the size is kept by a barrier that narrows as `plan` says."""

    def ascend(
        self,
        problem: Problem,
        starts: Sequence[Run],
        sizes: Sequence[float],
        least_gain: float,
        watch: Watch | None = None,
    ) -> list[Run]:
        """BFGS at exactly each of the sizes, one after the other, from where the starts ended.

        An ascent ends with three gains in a row below `least_gain`, as a share of the objective. Its value is the
        objective without barrier, over all rows.
        """
