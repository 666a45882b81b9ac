"""What one search is given and what it returns, whichever engine runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

Watch = Callable[[int, float, float, float | None], None]
"""Called now and then with (steps done since the last call, objective, size, learning rate if there is one)."""

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's."""

PLATEAU_THRESHOLD, LEAST_CUT = 1e-4, 1e-8
"""What counts as a gain, relatively; cuts of the learning rate smaller than this are not made."""

MOST_LOG_PRECISION = float(np.log(1e12))
"""No radius below a millionth of the RMS distance: float32 embeddings hold nothing finer."""

LEAST_SHARE = float(np.finfo(np.float32).eps)
"""Shares below this count as this much in the logarithm of an entropy."""


@dataclass(frozen=True)
class Penalty:
    """Costs `weight` per bit of entropy of a category (label or prediction) inside the spotlight."""

    codes: Int[np.ndarray, " n"]
    categories: int
    weight: float


@dataclass(frozen=True)
class Problem:
    """Maximise sign·L - barrier - penalties over centres and precisions (paper, §3).

    losses   (n,)   what the spotlight looks for
    counts   (n,)   multiplicities c
    size     T, the least Σ c·w
    height   what the barrier costs at S = T, in units of the loss
    sign     +1 for high losses, -1 for low ones
    """

    losses: Float[np.ndarray, " n"]
    counts: Float[np.ndarray, " n"]
    size: float
    height: float
    sign: float = 1.0
    penalties: tuple[Penalty, ...] = ()


@dataclass(frozen=True)
class Plan:
    """How one run climbs: Adam, its learning rate cut on plateaus.

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

    `shape` holds the parameters of the precision in its form (see `forms`). `complete` is False if the
    spotlight lost every example on the way: the end is then the last iterate that was large enough, and the
    histories stop there. `centre` is None if there was no such iterate. Adam's runs have a learning rate;
    others (`learning_rate` is None) the length of each step, in working units.
    """

    centre: Float[np.ndarray, " d"] | None
    shape: Float[np.ndarray, " s"]
    objective: Float[np.ndarray, " steps"]
    size: Float[np.ndarray, " steps"]
    learning_rate: Float[np.ndarray, " steps"] | None
    complete: bool
    rows_read: int = 0
    step_length: Float[np.ndarray, " steps"] | None = None

    @property
    def history(self) -> dict[str, np.ndarray]:
        curves = {name: getattr(self, name) for name in ("objective", "size", "learning_rate", "step_length")}
        return {name: curve for name, curve in curves.items() if curve is not None}
