"""The rule for failing clusters (UDIS, Algorithm 1): large enough, with a score below a share of the overall score."""

from __future__ import annotations

from collections.abc import Iterable
from typing import overload

import numpy as np
from jaxtyping import Bool, Float

from weakspot.slices.tree import ClusterNode

ACCURACY_THRESHOLD = 0.66
"""The share of the overall score below which a cluster fails, as published."""

SMALLEST = 5
"""A failing cluster has more examples than this, as published."""


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
    """Return whether a cluster fails, or which of several do.

    Args:
        size: The number of examples, of one cluster or (k,) of several.
        score: Their accuracy or F1.
        overall: The same score over all examples.
        share: The share of `overall` below which a cluster fails.
        smallest: Only clusters with more examples can fail.

    Returns:
        One answer, or (k,) of them.
    """
    return (size > smallest) & (score < share * overall)


def worst_first(clusters: Iterable[ClusterNode]) -> list[ClusterNode]:
    """Return clusters by accuracy, lowest first; at equal accuracy, the higher loss comes first."""
    return sorted(clusters, key=lambda leaf: (leaf.accuracy, -(leaf.loss or 0)))
