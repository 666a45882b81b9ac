"""Who belongs to a slice, beyond its edge: a linear discriminant of its members against the others of their label."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit

from weakspot.methods.distributed import ALONE, World
from weakspot.methods.residuals import groups
from weakspot.predictions import Predictions

ANY = -1
"""Stands for the label of a slice that is not confined to one."""

_BLOCK = 65_536  # examples at a time
_SHRINKAGE = 0.1  # of the covariance towards a multiple of the identity


def discriminant(
    x: Float[np.ndarray, "m q"],
    members: Bool[np.ndarray, " m"],
    counts: Float[np.ndarray, " m"],
    world: World = ALONE,
) -> tuple[Float[np.ndarray, " q"], float]:
    """Direction and offset of the log odds of belonging (Fisher's discriminant, one covariance for both sides).

    Args:
        x: Of the examples of one label that this process holds, reduced.
        members: Which of them are in the slice; of all processes' examples some are, and some are not.
        counts: Of the examples.
        world: The processes.
    """
    sides = [(x[side], counts[side]) for side in (members, ~members)]
    sizes = world.sum(np.array([c.sum() for _, c in sides]))
    sums = world.sum(np.array([(some * c[:, None]).sum(axis=0) for some, c in sides]))
    inside, outside = sums / sizes[:, None]
    scatter = sum(
        ((some - mean) * c[:, None]).T @ (some - mean)
        for (some, c), mean in zip(sides, (inside, outside), strict=True)
    )
    covariance = world.sum(scatter) / sizes.sum()
    q = len(covariance)
    even = np.trace(covariance) / q
    covariance = (1 - _SHRINKAGE) * covariance + (_SHRINKAGE * even + 1e-12) * np.eye(q)
    direction = np.linalg.solve(covariance, inside - outside)
    odds = np.log(sizes[0] / sizes[1])
    return direction, float(odds - direction @ (inside + outside) / 2)


def graded(
    p: Predictions,
    directions: Float[np.ndarray, "k d"],
    offsets: Float[np.ndarray, " k"],
    labels: Int[np.ndarray, " k"],
) -> Float[np.ndarray, "n k"]:
    """The probability of belonging to each slice: by where an example lies, and 0 for other labels than the slice's.

    Args:
        p: Any predictions; where they hold no labels, none is asked for.
        directions, offsets: Of the log odds, in the embedding's own units.
        labels: Of the slices; `ANY` where a slice is not confined to one.
    """
    found = np.empty((len(p), len(labels)))
    there = has_label(p, labels)
    for start in range(0, len(p), _BLOCK):
        block = slice(start, start + _BLOCK)
        x = np.asarray(p.embeddings[block], dtype=np.float64)
        # row by row: no row's last bit hangs on its neighbours
        scores = np.einsum("nd,kd->nk", x, directions)
        found[block] = expit(scores + offsets) * there[block]
    return found


def has_label(p: Predictions, labels: Int[np.ndarray, " k"]) -> Bool[np.ndarray, "n k"]:
    """Whether an example's label is the slice's; all are where it has none, and where labels are unknown."""
    if p.labels is None:
        return np.ones((len(p), len(labels)), dtype=bool)
    return np.asarray((groups(p)[:, None] == labels) | (labels == ANY))
