"""The membership of new embeddings in the failing clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num

from weakspot.methods.base import embeddings_for, parameters_of
from weakspot.methods.udis.audited_arrays import AuditedArrays
from weakspot.methods.udis.distances import CentredRows, mean_row, nearest
from weakspot.slices import Slices

_ROWS = 8192
_WHAT = "the clusters"


def membership(slices: Slices, embeddings: Any) -> Float[np.ndarray, "n k"]:
    """Return how much new embeddings (n, d) belong to each failing cluster of `slices`, fitted or loaded (n, k).

    It is graded by distance (`graded_membership`) if the slices hold radii. Otherwise it is 0 or 1:

    An example joins the cluster of the cut whose centre is nearest, among all clusters, failing or not: with fixed
    centres, that adds least to the sum of squares that Ward's method minimises. (If they moved, the cost would be
    s / (s + 1) · ‖x - centre‖² for a cluster of s members, which is nearly the same.) Fitted examples need not return
    to the cluster that they were fitted in: Ward merges greedily, and a member may lie nearer to another centre.

    If a category was audited, give only examples predicted as that category; `weakspot.methods.apply` takes care of it.
    """
    if "radii" in slices.parameters:
        centers, failing = parameters_of(slices, "centers", "failing")
        x = embeddings_for(embeddings, centers.shape[1], _WHAT)
        return graded_membership(x, centers[failing], slices.parameters["radii"])
    failing, nearest = nearest_clusters(slices, embeddings)
    belongs: np.ndarray = nearest[:, None] == failing
    return belongs.astype(np.float64)


def nearest_clusters(slices: Slices, embeddings: Any) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " n"]]:
    """Return the failing clusters (k,), and the cluster whose centre is nearest to each embedding (n,)."""
    centers, failing = parameters_of(slices, "centers", "failing")
    return failing, nearest_center(embeddings_for(embeddings, centers.shape[1], _WHAT), centers)


def graded_membership(
    embeddings: Num[np.ndarray, "n d"], centers: Float[np.ndarray, "f d"], radii: Float[np.ndarray, " f"]
) -> Float[np.ndarray, "n f"]:
    """Return 2^(-(distance / radius)²): 1 at a centre, a half at the cluster's RMS radius.

    Members at the edge of a cluster, and examples just beyond it, belong less than those near its centre.

    Args:
        embeddings: (n, d)
        centers: (f, d) of the clusters.
        radii: (f,) their RMS radii.

    Returns:
        (n, f)
    """
    memberships = np.empty((len(embeddings), len(centers)))
    for start in range(0, len(embeddings), _ROWS):
        rows = np.asarray(embeddings[start : start + _ROWS], dtype=np.float64)
        for j, (centre, radius) in enumerate(zip(centers, radii, strict=True)):
            differences = rows - centre
            memberships[start : start + _ROWS, j] = np.exp2(
                -np.einsum("nd,nd->n", differences, differences) / radius**2
            )
    return memberships


def radii_of(
    embeddings: Num[np.ndarray, "n d"],
    audited: AuditedArrays,
    clusters: Int[np.ndarray, " r"],
    centers: Float[np.ndarray, "k d"],
) -> Float[np.ndarray, " k"]:
    """Return the RMS distance of every cluster's examples from its centre (k,), never 0."""
    squares = np.empty(len(audited.rows))
    for start in range(0, len(squares), _ROWS):
        block = slice(start, start + _ROWS)
        differences = embeddings[audited.rows[block]].astype(np.float64) - centers[clusters[block]]
        squares[block] = np.einsum("nd,nd->n", differences, differences)
    k = len(centers)
    sums = np.bincount(clusters, audited.counts * squares, k)
    radii = np.sqrt(sums / np.bincount(clusters, audited.counts, k))
    least = 1e-6 * float(np.sqrt(sums.sum() / audited.counts.sum())) or 1e-150
    return np.maximum(radii, least)


def nearest_center(
    embeddings: Float[np.ndarray, "n d"], centers: Float[np.ndarray, "k d"]
) -> Int[np.ndarray, " n"]:
    """Return the index of the nearest centre (n,); among ties up to rounding, the lowest."""
    origin = mean_row(centers)
    centred = CentredRows.about(origin, centers, "float64")
    numbers = np.empty(len(embeddings), dtype=np.int64)
    for start in range(0, len(embeddings), _ROWS):
        rows = CentredRows.about(origin, embeddings[start : start + _ROWS], "float64")
        numbers[start : start + _ROWS] = nearest(rows, centred)
    return numbers
