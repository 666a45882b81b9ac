"""Clusters while they are merged: their means, and of each a list of near ones. What is compiled is all here.

A list comes with a bound that no cluster outside it undercuts. Merging others leaves the bound true, for Ward's
criterion is reducible, and what was listed is looked up by the cluster that it has become part of. Two clusters that
merge join their lists; Lance and Williams bound the rest. So most clusters whose nearest is gone need not search.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num
from numba import njit

from weakspot.methods.udis.distances import mean_row

LIST = 16
"""How many near clusters are listed."""

_ROWS = 512
_SLACK = 1e-11  # of a bound: more than rounding in float64 adds to it


class Means(NamedTuple):
    """The mean and the size of the cluster in every slot, about the mean of all and in a unit that float32 can square.

    x, rows   a cluster of one row is that row of x
    centre, scale
    own       (h, d)  the means of larger ones, of which there are never more than half as many
    spot      (s,)    the row of `own`; -1 where a cluster is one row
    free      (h+1,)  rows of `own` without a cluster, and last how many
    sizes     (s,)
    """

    x: Num[np.ndarray, "n d"]
    rows: Int[np.ndarray, " s"]
    centre: Float[np.ndarray, " d"]
    scale: float
    own: Float[np.ndarray, "h d"]
    spot: Int[np.ndarray, " s"]
    free: Int[np.ndarray, " h1"]
    sizes: Float[np.ndarray, " s"]


class Tree(NamedTuple):
    """The clusters by slot, each in that of one of its rows, and the near ones of each, the nearest first.

    node      (s,)      the node in a slot; -1 where there is none any more
    height    (s,)      squared
    near      (s, LIST) nodes as they were when listed; -1 where there are fewer
    away      (s, LIST) their squared Ward distances
    bound     (s,)      no cluster but the listed ones is nearer
    other     (s,)      after a merge, the slot of the part whose list is still to be joined; or -1
    slot      (2s-1,)   where a living node is
    root      (2s-1,)   the living node that a node is part of
    """

    node: Int[np.ndarray, " s"]
    height: Float[np.ndarray, " s"]
    near: Int[np.ndarray, "s k"]
    away: Float[np.ndarray, "s k"]
    bound: Float[np.ndarray, " s"]
    other: Int[np.ndarray, " s"]
    slot: Int[np.ndarray, " m"]
    root: Int[np.ndarray, " m"]


def means_of(x: Num[np.ndarray, "n d"], rows: Int[np.ndarray, " s"], sizes: Float[np.ndarray, " s"]) -> Means:
    """Every row for itself."""
    centre, half = mean_row(x), len(rows) // 2
    parts = np.array_split(rows, len(rows) // _ROWS + 1)
    farthest = max(float(np.abs(x[part] - centre).max()) for part in parts) or 1.0
    return Means(
        x,
        rows,
        centre,
        float(np.exp2(-np.ceil(np.log2(farthest)))),
        np.empty((half, x.shape[1])),
        np.full(len(rows), -1, dtype=np.int32),
        np.append(np.arange(half)[::-1], half),
        sizes,
    )


def singletons(s: int) -> Tree:
    """As many clusters, none of which has a list."""
    nodes = np.arange(2 * s - 1, dtype=np.int32)
    return Tree(
        node=nodes[:s].copy(),
        height=np.zeros(s),
        near=np.full((s, LIST), -1, dtype=np.int32),
        away=np.empty((s, LIST)),
        bound=np.full(s, -np.inf),
        other=np.full(s, -1, dtype=np.int32),
        slot=nodes.copy(),
        root=nodes,
    )


@njit(cache=True, nogil=True)
def _mean_of(means: Means, slot: int, out: np.ndarray) -> None:
    """Write the mean of the cluster in a slot into `out`."""
    if means.spot[slot] >= 0:
        out[:] = means.own[means.spot[slot]]
    else:
        row = means.x[means.rows[slot]]
        for c in range(len(out)):
            out[c] = (row[c] - means.centre[c]) * means.scale


@njit(cache=True, nogil=True)
def factors(
    means: Means, slots: np.ndarray, rows: np.ndarray, share: float, least: float, asks: bool
) -> None:
    """‖a‖² + ‖b‖² - 2a·b as one product, the norms so much too small that rounding cannot make it too large."""
    d = rows.shape[1] - 2
    mean = np.empty(d)
    for i in range(len(slots)):
        _mean_of(means, slots[i], mean)
        norm = 0.0
        for c in range(d):
            norm += mean[c] * mean[c]
            rows[i, c] = -2 * mean[c] if asks else mean[c]
        norm = norm * share - least
        rows[i, d] = 1.0 if asks else norm
        rows[i, d + 1] = norm if asks else 1.0


@njit(cache=True, nogil=True)
def refresh(tree: Tree, means: Means, slots: np.ndarray, sure: np.ndarray) -> None:
    """Bring lists up to date; `sure` where the first of one is the nearest of all."""
    d = len(means.centre)
    mean, scratch = np.empty(d), np.empty(d)
    near, away = np.empty(2 * LIST, dtype=np.int32), np.empty(2 * LIST)
    for i in range(len(slots)):
        slot = slots[i]
        node, other = tree.node[slot], np.int64(tree.other[slot])
        _mean_of(means, slot, mean)
        length = 0
        for source in (slot, other):
            if source >= 0:
                for k in range(LIST):
                    listed = tree.near[source, k]
                    if listed < 0:
                        break
                    now = tree.root[listed]
                    if now != node and not (near[:length] == now).any():
                        if now == listed and other < 0:
                            distance = tree.away[source, k]
                        else:
                            distance = _ward(means, slot, mean, tree.slot[now], scratch)
                        length = _insert(near, away, length, node, now, distance)
        tree.other[slot] = -1
        _write(tree, slot, near, away, length)
        sure[i] = length > 0 and away[0] < tree.bound[slot]


@njit(cache=True, nogil=True)
def list_found(
    tree: Tree, means: Means, slots: np.ndarray, found: np.ndarray, bounds: np.ndarray, sure: np.ndarray
) -> None:
    """List the candidates that were found; `sure` where none that was not is nearer than the first."""
    d = len(means.centre)
    mean, scratch = np.empty(d), np.empty(d)
    near, away = np.empty(LIST, dtype=np.int32), np.empty(LIST)
    for i in range(len(slots)):
        slot, length, bound = slots[i], 0, -np.inf
        _mean_of(means, slot, mean)
        for k in range(LIST):
            if found[i, k] < 0:
                bound = np.inf
            else:
                distance = _ward(means, slot, mean, found[i, k], scratch)
                length = _insert(near, away, length, tree.node[slot], tree.node[found[i, k]], distance)
                bound = max(bound, bounds[i, k])
        tree.bound[slot] = _lowered(bound, bound)
        _write(tree, slot, near, away, length)
        sure[i] = length > 0 and away[0] < tree.bound[slot]


@njit(cache=True, nogil=True)
def list_all(tree: Tree, means: Means, slots: np.ndarray, alive: np.ndarray) -> None:
    """List the nearest of all, each looked at."""
    d = len(means.centre)
    mean, scratch = np.empty(d), np.empty(d)
    near, away = np.empty(LIST + 1, dtype=np.int32), np.empty(LIST + 1)
    for slot in slots:
        length = 0
        _mean_of(means, slot, mean)
        for other in alive:
            if other != slot:
                distance = _ward(means, slot, mean, other, scratch)
                length = _insert(near, away, length, tree.node[slot], tree.node[other], distance)
        tree.bound[slot] = np.inf
        _write(tree, slot, near, away, length)


@njit(cache=True, nogil=True)
def _write(tree: Tree, slot: int, near: np.ndarray, away: np.ndarray, length: int) -> None:
    """Store as much of a list as there is room for; the first left out bounds all others."""
    kept = min(length, LIST)
    tree.near[slot, :kept], tree.away[slot, :kept] = near[:kept], away[:kept]
    tree.near[slot, kept:] = -1
    if length > LIST:
        tree.bound[slot] = min(tree.bound[slot], away[LIST])


@njit(cache=True, nogil=True)
def _insert(near: np.ndarray, away: np.ndarray, length: int, node: int, new: int, distance: float) -> int:
    """Put a cluster in its place, the last one out where there is no room."""
    place = length
    while place > 0 and (
        distance < away[place - 1]
        or (distance == away[place - 1] and _draw(node, new) < _draw(node, near[place - 1]))
    ):
        if place < len(near):
            near[place], away[place] = near[place - 1], away[place - 1]
        place -= 1
    if place < len(near):
        near[place], away[place] = new, distance
    return min(length + 1, len(near))


@njit(cache=True, nogil=True)
def _draw(a: int, b: int) -> np.uint64:
    """A number of the pair by which ties are decided: at random, so that among many some pairs are mutual."""
    mixed = np.uint64(min(a, b)) << np.uint64(32) | np.uint64(max(a, b))
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


@njit(cache=True, nogil=True)
def _ward(means: Means, slot: int, mean: np.ndarray, other: int, scratch: np.ndarray) -> float:
    _mean_of(means, other, scratch)
    total = 0.0
    for c in range(len(mean)):
        step = mean[c] - scratch[c]
        total += step * step
    a, b = float(means.sizes[slot]), float(means.sizes[other])
    return 2 * (a * b / (a + b)) * total


@njit(cache=True, nogil=True)
def _lowered(bound: float, terms: float) -> float:
    """By what rounding in float64 may have added to it."""
    return bound - _SLACK * abs(terms) if bound < np.inf else bound


@njit(cache=True, nogil=True)
def merge(
    tree: Tree, means: Means, left: np.ndarray, right: np.ndarray, node: int, merges: np.ndarray
) -> None:
    """Merge pairs of slots into the left ones: row, row, squared height, size."""
    d = len(means.centre)
    mean, scratch = np.empty(d), np.empty(d)
    own, spot, free, sizes = means.own, means.spot, means.free, means.sizes
    for i in range(len(left)):
        x, y = left[i], right[i]
        distance, a, b = tree.away[x, 0], sizes[x], sizes[y]
        _mean_of(means, x, mean)
        _mean_of(means, y, scratch)
        for c in range(d):
            mean[c] += (scratch[c] - mean[c]) * (b / (a + b))
        if spot[x] < 0:
            if spot[y] >= 0:
                spot[x] = spot[y]
            else:
                free[-1] -= 1
                spot[x] = free[free[-1]]
        elif spot[y] >= 0:
            free[free[-1]] = spot[y]
            free[-1] += 1
        own[spot[x]] = mean
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
