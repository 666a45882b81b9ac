"""Graded membership beyond the edge of a slice: a linear discriminant of its members against the other examples."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit

from weakspot.methods.distributed import SINGLE_PROCESS, ProcessGroup
from weakspot.methods.residuals import label_codes
from weakspot.predictions import Predictions

ANY_LABEL = -1
"""The label of a slice that is not restricted to one label."""

_BLOCK = 65_536  # examples at a time
_SHRINKAGE = 0.1  # of the covariance towards a multiple of the identity


def fit_discriminant(
    x: Float[np.ndarray, "m q"],
    members: Bool[np.ndarray, " m"],
    counts: Float[np.ndarray, " m"],
    processes: ProcessGroup = SINGLE_PROCESS,
) -> tuple[Float[np.ndarray, " q"], float]:
    """Fit Fisher's linear discriminant of a slice's members against the other examples.

    With one covariance Σ for both sides, means μ₁ and μ₀ and sizes n₁ and n₀, the log odds of belonging are
    linear: direction = Σ⁻¹(μ₁ - μ₀), offset = log(n₁/n₀) - direction · (μ₁ + μ₀)/2. Scikit-learn's
    LinearDiscriminantAnalysis is the same, but supports neither counts nor rows in other processes.

    Args:
        x: (m, q) the reduced examples of one label that this process holds.
        members: (m,) which of them are in the slice; over all processes, some must be members and some not.
        counts: (m,) how often each example counts.
        processes: The processes.

    Returns:
        (q,) the direction and the offset of the log odds.
    """
    sides = [(x[side], counts[side]) for side in (members, ~members)]
    sizes = processes.sum(np.array([c.sum() for _, c in sides]))
    sums = processes.sum(np.array([(rows * c[:, None]).sum(axis=0) for rows, c in sides]))
    inside, outside = sums / sizes[:, None]
    scatter = sum(
        ((rows - mean) * c[:, None]).T @ (rows - mean)
        for (rows, c), mean in zip(sides, (inside, outside), strict=True)
    )
    covariance = processes.sum(scatter) / sizes.sum()
    q = len(covariance)
    mean_variance = np.trace(covariance) / q
    covariance = (1 - _SHRINKAGE) * covariance + (_SHRINKAGE * mean_variance + 1e-12) * np.eye(q)
    direction = np.linalg.solve(covariance, inside - outside)
    prior_log_odds = np.log(sizes[0] / sizes[1])
    return direction, float(prior_log_odds - direction @ (inside + outside) / 2)


def discriminant_membership(
    p: Predictions,
    directions: Float[np.ndarray, "k d"],
    offsets: Float[np.ndarray, " k"],
    labels: Int[np.ndarray, " k"],
) -> Float[np.ndarray, "n k"]:
    """Return the probability of belonging to each slice, given the embedding; 0 for labels other than the slice's.

    Args:
        p: Any n predictions; if they hold no labels, the embedding alone decides.
        directions: (k, d) of the log odds, in the embedding's own units.
        offsets: (k,) of the log odds.
        labels: (k,) of the slices; `ANY_LABEL` for a slice that is not restricted to one.

    Returns:
        (n, k) probabilities.
    """
    probabilities = np.empty((len(p), len(labels)))
    eligible = has_label(p, labels)
    for start in range(0, len(p), _BLOCK):
        block = slice(start, start + _BLOCK)
        x = np.asarray(p.embeddings[block], dtype=np.float64)
        # Row by row, so that no row's rounding depends on the other rows.
        scores = np.einsum("nd,kd->nk", x, directions)
        probabilities[block] = expit(scores + offsets) * eligible[block]
    return probabilities


def has_label(p: Predictions, labels: Int[np.ndarray, " k"]) -> Bool[np.ndarray, "n k"]:
    """Return whether each example has the label of each slice.

    All do if the slice is not restricted to a label, or if the labels of the examples are unknown.
    """
    if p.labels is None:
        return np.ones((len(p), len(labels)), dtype=bool)
    return np.asarray((label_codes(p)[:, None] == labels) | (labels == ANY_LABEL))
