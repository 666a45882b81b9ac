"""Clusters carried over to new embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from weakspot.methods.base import embeddings_for, parameters_of
from weakspot.methods.udis.distances import Points, mean_row, nearest
from weakspot.slices import Slices

_ROWS = 8192


def membership(slices: Slices, embeddings: Any) -> Float[np.ndarray, "n k"]:
    """Whether new embeddings (n, d) belong to each failing cluster of `slices`, fitted or loaded: 0 or 1.

    An example joins the cluster of the cut whose centre is nearest, among all clusters, failing or not: that
    adds least to the sum of squares which Ward keeps low, as long as the centres stay where they are. (Were
    they to move, the cost would be s / (s + 1) · ‖x - centre‖² for a cluster of s members: nearly the same.)
    Fitted examples need not return to the cluster they were fitted in: Ward merges greedily, and a member may
    lie nearer to another centre.

    Where a category was audited, only examples predicted to have it should be asked about
    (`weakspot.methods.apply` sees to that).
    """
    centers, failing = parameters_of(slices, "centers", "failing")
    x = embeddings_for(embeddings, centers.shape[1], "the clusters")
    belongs: np.ndarray = nearest_center(x, centers)[:, None] == failing
    return belongs.astype(np.float64)


def nearest_center(
    embeddings: Float[np.ndarray, "n d"], centers: Float[np.ndarray, "k d"]
) -> Int[np.ndarray, " n"]:
    """The number of the nearest centre; of those that are as near but for rounding, the lowest."""
    origin = mean_row(centers)
    places = Points.about(origin, centers, "float64")
    numbers = np.empty(len(embeddings), dtype=np.int64)
    for start in range(0, len(embeddings), _ROWS):
        rows = Points.about(origin, embeddings[start : start + _ROWS], "float64")
        numbers[start : start + _ROWS] = nearest(rows, places)
    return numbers
