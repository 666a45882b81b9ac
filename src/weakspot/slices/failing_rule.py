"""The rule by which a cluster fails (UDIS, Algorithm 1): it is large enough, and served worse than a share of all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import overload

import numpy as np
from jaxtyping import Bool, Float

from weakspot.slices.tree import ClusterNode

ACCURACY_THRESHOLD = 0.66
"""Of the score of all, below which a cluster fails: as published."""

SMALLEST = 5
"""Examples, of which a failing cluster has more: as published."""


Number = int | float


@overload
def fails(
    size: Float[np.ndarray, " k"],
    score: Float[np.ndarray, " k"],
    overall: Number,
    share: Number,
    smallest: Number = SMALLEST,
) -> Bool[np.ndarray, " k"]: ...


@overload
def fails(
    size: Number, score: Number, overall: Number, share: Number, smallest: Number = SMALLEST
) -> bool: ...


def fails(
    size: Number | Float[np.ndarray, " k"],
    score: Number | Float[np.ndarray, " k"],
    overall: Number,
    share: Number,
    smallest: Number = SMALLEST,
) -> bool | Bool[np.ndarray, " k"]:
    """Whether a cluster fails, or which of several do.

    Args:
        size: In examples, of one cluster or (k,) of several.
        score: Accuracy, or F1, of the same.
        overall: The same of all examples.
        share: Of `overall`, below which a cluster fails.
        smallest: Only a cluster of more examples can fail.

    Returns:
        One answer, or (k,) of them.
    """
    return (size > smallest) & (score < share * overall)


def worst_first(clusters: Iterable[ClusterNode]) -> list[ClusterNode]:
    """Clusters by accuracy, the lowest first; of equal ones the higher loss comes first."""
    return sorted(clusters, key=lambda leaf: (leaf.accuracy, -(leaf.loss or 0)))
