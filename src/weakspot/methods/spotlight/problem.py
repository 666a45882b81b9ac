"""What one search is given and what it returns, whichever engine runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Watch = Callable[[int, float, float, float], None]
"""Called now and then with (step, objective, size, learning rate)."""


@dataclass(frozen=True)
class Problem:
    """Maximise sign·L - barrier over centres and precisions (METHODS of the paper, §3).

    x        (n, d) embeddings in working units: centred, RMS distance to the mean 1
    losses   (n,)   what the spotlight looks for
    counts   (n,)   multiplicities c
    size     T, the least Σ c·w
    height   what the barrier costs at S = T, in units of the loss
    sign     +1 for high losses, -1 for low ones
    """

    x: Float[np.ndarray, "n d"]
    losses: Float[np.ndarray, " n"]
    counts: Float[np.ndarray, " n"]
    size: float
    height: float
    sign: float

    @property
    def total(self) -> float:
        return float(self.counts.sum())


@dataclass(frozen=True)
class Plan:
    """How one run climbs: Adam with the learning rate cut on plateaus.

    barrier        (steps,) widths b_t in examples, wide to narrow
    unit           length of one unit of the centre, in working units: Adam's steps are not scale-free
    """

    barrier: Float[np.ndarray, " steps"]
    learning_rate: float
    patience: int
    factor: float
    unit: float = 1.0


@dataclass(frozen=True)
class Run:
    """Where a run ended, in working units, and how it went.

    complete is False if the spotlight lost every example on the way: the end is then the last iterate that
    was large enough, and the histories stop there. `centre` is None if there was no such iterate.
    """

    centre: Float[np.ndarray, " d"] | None
    precision: float
    objective: Float[np.ndarray, " steps"]
    size: Float[np.ndarray, " steps"]
    learning_rate: Float[np.ndarray, " steps"]
    complete: bool

    @property
    def history(self) -> dict[str, np.ndarray]:
        return {"objective": self.objective, "size": self.size, "learning_rate": self.learning_rate}
