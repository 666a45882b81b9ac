"""Who belongs to a ball, beyond its edge: a linear discriminant of its members against the others of their label."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

_SHRINKAGE = 0.1  # of the covariance towards a multiple of the identity


def discriminant(
    x: Float[np.ndarray, "m q"], members: Bool[np.ndarray, " m"], counts: Float[np.ndarray, " m"]
) -> tuple[Float[np.ndarray, " q"], float]:
    """Direction and offset of the log odds of belonging (Fisher's discriminant, one covariance for both sides).

    Args:
        x: Of the examples of one label, reduced.
        members: Which of them are in the ball; some are, and some are not.
        counts: Of the examples.
    """
    sides = [(x[side], counts[side]) for side in (members, ~members)]
    inside, outside = (np.average(some, axis=0, weights=c) for some, c in sides)
    scatter = sum(
        ((some - mean) * c[:, None]).T @ (some - mean)
        for (some, c), mean in zip(sides, (inside, outside), strict=True)
    )
    covariance = scatter / counts.sum()
    q = len(covariance)
    even = np.trace(covariance) / q
    covariance = (1 - _SHRINKAGE) * covariance + (_SHRINKAGE * even + 1e-12) * np.eye(q)
    direction = np.linalg.solve(covariance, inside - outside)
    odds = np.log(counts[members].sum() / counts[~members].sum())
    return direction, float(odds - direction @ (inside + outside) / 2)
