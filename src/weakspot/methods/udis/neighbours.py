"""Clusters while they are merged: their means, and for each a list of near ones. The functions are compiled.

A list comes with a lower bound on the distance to every cluster outside it. The bound stays valid when others merge,
because Ward's criterion is reducible; a listed cluster that has been merged stands for the one that it became part of.
When two clusters merge, their lists are joined, and the formula of Lance and Williams bounds the rest. So most clusters
whose nearest is gone need no search.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num
from numba import njit

from weakspot.methods.udis.distances import mean_row

LIST_LENGTH = 16
"""The length of a list of near clusters."""

_ROWS = 512
_SLACK = 1e-11  # relative: more than rounding in float64 adds to a bound


class ClusterMeans(NamedTuple):
    """Holds mean and size of the cluster in every slot, about the overall mean, in a unit that float32 can square.

    Attributes:
        x: (n, d) the embeddings.
        rows: (s,) the row of x in every slot, while its cluster is that row alone.
        centre: (d,) the mean of x.
        scale: The factor that brings x - centre to the unit of the means.
        merged_means: (h, d) the means of clusters of several rows, of which there are at most h, half the slots.
        merged_row: (s,) the row of `merged_means`; -1 where a cluster is one row.
        free: (h+1,) a stack of the unused rows of `merged_means`, and last their number.
        sizes: (s,) Σ counts of every cluster.
    """

    x: Num[np.ndarray, "n d"]
    rows: Int[np.ndarray, " s"]
    centre: Float[np.ndarray, " d"]
    scale: float
    merged_means: Float[np.ndarray, "h d"]
    merged_row: Int[np.ndarray, " s"]
    free: Int[np.ndarray, " h1"]
    sizes: Float[np.ndarray, " s"]


class NeighbourLists(NamedTuple):
    """Holds the clusters by slot (that of one of their rows), and the near ones of each, nearest first.

    Attributes:
        node: (s,) the node in a slot; -1 where it has been merged into another slot.
        height: (s,) the node's squared height.
        near: (s, LIST_LENGTH) nodes as they were when listed; -1 if there are fewer.
        distances: (s, LIST_LENGTH) their squared Ward distances.
        bound: (s,) a lower bound on the squared distance to every cluster that is not listed.
        other: (s,) after a merge, the slot of the part whose list has not been joined yet; or -1.
        slot: (2s-1,) the slot of a living node.
        root: (2s-1,) the living node that a node is part of.
    """

    node: Int[np.ndarray, " s"]
    height: Float[np.ndarray, " s"]
    near: Int[np.ndarray, "s k"]
    distances: Float[np.ndarray, "s k"]
    bound: Float[np.ndarray, " s"]
    other: Int[np.ndarray, " s"]
    slot: Int[np.ndarray, " m"]
    root: Int[np.ndarray, " m"]


def singleton_means(
    x: Num[np.ndarray, "n d"], rows: Int[np.ndarray, " s"], sizes: Float[np.ndarray, " s"]
) -> ClusterMeans:
    """Return the means of clusters of one row each."""
    centre, half = mean_row(x), len(rows) // 2
    parts = np.array_split(rows, len(rows) // _ROWS + 1)
    farthest = max(float(np.abs(x[part] - centre).max()) for part in parts) or 1.0
    return ClusterMeans(
        x,
        rows,
        centre,
        float(np.exp2(-np.ceil(np.log2(farthest)))),
        np.empty((half, x.shape[1])),
        np.full(len(rows), -1, dtype=np.int32),
        np.append(np.arange(half)[::-1], half),
        sizes,
    )


def singleton_lists(s: int) -> NeighbourLists:
    """Return s clusters, none of which has a list."""
    nodes = np.arange(2 * s - 1, dtype=np.int32)
    return NeighbourLists(
        node=nodes[:s].copy(),
        height=np.zeros(s),
        near=np.full((s, LIST_LENGTH), -1, dtype=np.int32),
        distances=np.empty((s, LIST_LENGTH)),
        bound=np.full(s, -np.inf),
        other=np.full(s, -1, dtype=np.int32),
        slot=nodes.copy(),
        root=nodes,
    )


@njit(cache=True, nogil=True)
def _mean_of(means: ClusterMeans, slot: int, out: np.ndarray) -> None:
    """Write the mean of the cluster in a slot into `out`."""
    if means.merged_row[slot] >= 0:
        out[:] = means.merged_means[means.merged_row[slot]]
    else:
        row = means.x[means.rows[slot]]
        for c in range(len(out)):
            out[c] = (row[c] - means.centre[c]) * means.scale


@njit(cache=True, nogil=True)
def bound_factors(
    means: ClusterMeans, slots: np.ndarray, rows: np.ndarray, share: float, least: float, is_query: bool
) -> None:
    """Write factors whose product is ‖a‖² + ‖b‖² - 2a·b, with norms reduced so that rounding does not exceed it."""
    d = rows.shape[1] - 2
    mean = np.empty(d)
    for i in range(len(slots)):
        _mean_of(means, slots[i], mean)
        norm = 0.0
        for c in range(d):
            norm += mean[c] * mean[c]
            rows[i, c] = -2 * mean[c] if is_query else mean[c]
        norm = norm * share - least
        rows[i, d] = 1.0 if is_query else norm
        rows[i, d + 1] = norm if is_query else 1.0


@njit(cache=True, nogil=True)
def refresh_lists(
    tree: NeighbourLists, means: ClusterMeans, slots: np.ndarray, is_certain: np.ndarray
) -> None:
    """Update lists; `is_certain` receives whether the first entry of each must be the nearest of all clusters."""
    d = len(means.centre)
    mean, scratch = np.empty(d), np.empty(d)
    near, distances = np.empty(2 * LIST_LENGTH, dtype=np.int32), np.empty(2 * LIST_LENGTH)
    for i in range(len(slots)):
        slot = slots[i]
        node, other = tree.node[slot], np.int64(tree.other[slot])
        _mean_of(means, slot, mean)
        length = 0
        for source in (slot, other):
            if source >= 0:
                for k in range(LIST_LENGTH):
                    listed = tree.near[source, k]
                    if listed < 0:
                        break
                    now = tree.root[listed]
                    if now != node and not (near[:length] == now).any():
                        if now == listed and other < 0:
                            distance = tree.distances[source, k]
                        else:
                            distance = _ward(means, slot, mean, tree.slot[now], scratch)
                        length = _insert(near, distances, length, node, now, distance)
        tree.other[slot] = -1
        _write(tree, slot, near, distances, length)
        is_certain[i] = length > 0 and distances[0] < tree.bound[slot]


@njit(cache=True, nogil=True)
def store_candidates(
    tree: NeighbourLists,
    means: ClusterMeans,
    slots: np.ndarray,
    found: np.ndarray,
    bounds: np.ndarray,
    is_certain: np.ndarray,
) -> None:
    """Write candidates into lists; `is_certain` receives whether the first entry of each is the nearest cluster."""
    d = len(means.centre)
    mean, scratch = np.empty(d), np.empty(d)
    near, distances = np.empty(LIST_LENGTH, dtype=np.int32), np.empty(LIST_LENGTH)
    for i in range(len(slots)):
        slot, length, bound = slots[i], 0, -np.inf
        _mean_of(means, slot, mean)
        for k in range(LIST_LENGTH):
            if found[i, k] < 0:
                bound = np.inf
            else:
                distance = _ward(means, slot, mean, found[i, k], scratch)
                length = _insert(near, distances, length, tree.node[slot], tree.node[found[i, k]], distance)
                bound = max(bound, bounds[i, k])
        tree.bound[slot] = _lowered(bound, bound)
        _write(tree, slot, near, distances, length)
        is_certain[i] = length > 0 and distances[0] < tree.bound[slot]


@njit(cache=True, nogil=True)
def search_all_clusters(
    tree: NeighbourLists, means: ClusterMeans, slots: np.ndarray, alive: np.ndarray
) -> None:
    """List the nearest clusters by exhaustive search."""
    d = len(means.centre)
    mean, scratch = np.empty(d), np.empty(d)
    near, distances = np.empty(LIST_LENGTH + 1, dtype=np.int32), np.empty(LIST_LENGTH + 1)
    for slot in slots:
        length = 0
        _mean_of(means, slot, mean)
        for other in alive:
            if other != slot:
                distance = _ward(means, slot, mean, other, scratch)
                length = _insert(near, distances, length, tree.node[slot], tree.node[other], distance)
        tree.bound[slot] = np.inf
        _write(tree, slot, near, distances, length)


@njit(cache=True, nogil=True)
def _write(tree: NeighbourLists, slot: int, near: np.ndarray, distances: np.ndarray, length: int) -> None:
    """Store as much of a list as fits; the first entry that does not fit bounds all others."""
    kept = min(length, LIST_LENGTH)
    tree.near[slot, :kept], tree.distances[slot, :kept] = near[:kept], distances[:kept]
    tree.near[slot, kept:] = -1
    if length > LIST_LENGTH:
        tree.bound[slot] = min(tree.bound[slot], distances[LIST_LENGTH])


@njit(cache=True, nogil=True)
def _insert(
    near: np.ndarray, distances: np.ndarray, length: int, node: int, new: int, distance: float
) -> int:
    """Insert a cluster in order, and drop the last one if the list is full."""
    place = length
    while place > 0 and (
        distance < distances[place - 1]
        or (distance == distances[place - 1] and _tie_hash(node, new) < _tie_hash(node, near[place - 1]))
    ):
        if place < len(near):
            near[place], distances[place] = near[place - 1], distances[place - 1]
        place -= 1
    if place < len(near):
        near[place], distances[place] = new, distance
    return min(length + 1, len(near))


@njit(cache=True, nogil=True)
def _tie_hash(a: int, b: int) -> np.uint64:
    """Return a hash of the pair that breaks ties, so that among many ties some pairs are mutual."""
    mixed = np.uint64(min(a, b)) << np.uint64(32) | np.uint64(max(a, b))
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


@njit(cache=True, nogil=True)
def _ward(means: ClusterMeans, slot: int, mean: np.ndarray, other: int, scratch: np.ndarray) -> float:
    """Return the squared Ward distance 2·a·b/(a + b)·‖x_a - x_b‖²."""
    _mean_of(means, other, scratch)
    total = 0.0
    for c in range(len(mean)):
        step = mean[c] - scratch[c]
        total += step * step
    a, b = float(means.sizes[slot]), float(means.sizes[other])
    return 2 * (a * b / (a + b)) * total


@njit(cache=True, nogil=True)
def _lowered(bound: float, terms: float) -> float:
    """Lower a bound by what rounding in float64 may have added to it."""
    return bound - _SLACK * abs(terms) if bound < np.inf else bound


@njit(cache=True, nogil=True)
def merge(
    tree: NeighbourLists,
    means: ClusterMeans,
    left: np.ndarray,
    right: np.ndarray,
    node: int,
    merges: np.ndarray,
) -> None:
    """Merge pairs of slots into the left ones: row, row, squared height, size."""
    d = len(means.centre)
    mean, scratch = np.empty(d), np.empty(d)
    merged_means, merged_row, free, sizes = means.merged_means, means.merged_row, means.free, means.sizes
    for i in range(len(left)):
        x, y = left[i], right[i]
        distance, a, b = tree.distances[x, 0], sizes[x], sizes[y]
        _mean_of(means, x, mean)
        _mean_of(means, y, scratch)
        for c in range(d):
            mean[c] += (scratch[c] - mean[c]) * (b / (a + b))
        if merged_row[x] < 0:
            if merged_row[y] >= 0:
                merged_row[x] = merged_row[y]
            else:
                free[-1] -= 1
                merged_row[x] = free[free[-1]]
        elif merged_row[y] >= 0:
            free[free[-1]] = merged_row[y]
            free[-1] += 1
        merged_means[merged_row[x]] = mean
        sizes[x] = a + b
        # Lance and Williams, for a third cluster of size c: (a·A + b·B + c·(A + B - distance)) / (a + b + c)
        p, q = tree.bound[x], tree.bound[y]
        least = min((a * p + b * q) / (a + b), p + q - distance)
        tree.bound[x] = _lowered(least, abs(p) + abs(q))
        tree.height[x] = max(distance, tree.height[x], tree.height[y])
        tree.root[tree.node[x]] = tree.root[tree.node[y]] = node
        tree.node[x], tree.node[y] = node, -1
        tree.slot[node], tree.other[x] = x, y
        merges[i, 0], merges[i, 1], merges[i, 2], merges[i, 3] = x, y, tree.height[x], a + b
        node += 1
    for old in range(node - 1, -1, -1):
        tree.root[old] = tree.root[tree.root[old]]
