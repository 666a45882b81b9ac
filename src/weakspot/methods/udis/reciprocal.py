"""Ward's hierarchical clustering without a matrix: reciprocal nearest neighbours, merged round by round.

The squared Ward distance of two clusters follows from their means and sizes, 2·a·b/(a + b)·‖x_a - x_b‖², and Ward's
criterion is reducible: merging two clusters does not bring them nearer to a third. So all pairs that are each other's
nearest may be merged at once, and the tree is the sequential one (Murtagh, Computer Journal 1983; Sumengen et al.,
arXiv:2105.11653). Matrix products in float32 give candidates; float64 decides.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Num
from numba import njit

from weakspot.methods.base import Callback
from weakspot.methods.udis.candidates import NeighbourCandidates
from weakspot.methods.udis.neighbours import (
    ClusterMeans,
    NeighbourLists,
    merge,
    refresh_lists,
    search_all_clusters,
    singleton_lists,
    singleton_means,
    store_candidates,
)
from weakspot.methods.udis.row_blocks import each_block
from weakspot.methods.udis.ward import linkage_of
from weakspot.predictions.mapped_copies import as_float32

_ROWS = 64  # that a thread takes at a time


def reciprocal_ward(
    x: Num[np.ndarray, "n d"],
    rows: Int[np.ndarray, " r"],
    sizes: Float[np.ndarray, " r"],
    device: torch.device,
    callback: Callback,
) -> Float[np.ndarray, "t 4"]:
    """Return the linkage of some rows of x in SciPy's convention, as `ward.ward` does, in memory of order r·d.

    Args:
        x: (n, d) embeddings.
        rows: (r,) the rows to cluster.
        sizes: (r,) how many examples each row stands for.
        device: The device of the matrix products.
        callback: Called with the progress.
    """
    x = np.asarray(as_float32(x))  # not a memory-mapped subclass, which numba does not support
    first, copies, sizes = merge_duplicates(x, rows, sizes)
    means = singleton_means(x, rows[first], sizes)
    s = len(first)
    tree = singleton_lists(s)
    candidates = NeighbourCandidates(means, device)
    merges = np.empty((s - 1, 4))
    done = 0
    while done < s - 1:
        alive = np.flatnonzero(tree.node >= 0)
        _find_nearest(tree, means, candidates, alive, callback)
        nearest = tree.slot[tree.near[alive, 0]]
        pairs = np.flatnonzero((tree.near[nearest, 0] == tree.node[alive]) & (alive < nearest))
        if not len(pairs):  # If ties form a cycle, the closest pair is as good as a mutual one.
            pairs = tree.distances[alive, 0].argmin(keepdims=True)
        stop = done + len(pairs)
        merge(tree, means, alive[pairs], nearest[pairs], s + done, merges[done:stop])
        done = stop
        callback("merging", done, s - 1)
    merges[:, :2] = first[merges[:, :2].astype(np.int64)]
    linkage = linkage_of(np.concatenate([copies, merges]))
    linkage[:, 2] /= means.scale
    return linkage


def _find_nearest(
    tree: NeighbourLists,
    means: ClusterMeans,
    candidates: NeighbourCandidates,
    alive: Int[np.ndarray, " m"],
    callback: Callback,
) -> None:
    """Update the lists of new clusters, and of those whose nearest is gone, so that the nearest is first.

    Lists that do not hold the nearest for certain are rebuilt: by a search in float32; if that does not decide, by one
    in float64; and if more clusters tie than fit into a list, by exhaustive search.
    """
    first = tree.near[alive, 0]
    lost = alive[(first < 0) | (tree.root[first] != first)]
    is_certain = np.empty(len(lost), dtype=np.bool_)
    each_block(len(lost), _ROWS, lambda a, b: refresh_lists(tree, means, lost[a:b], is_certain[a:b]))
    lost = lost[~is_certain]
    for dtype in (torch.float32, torch.float64):
        unsure, seen = [lost[:0]], 0
        for block in candidates.blocks(lost):
            unsure.append(block[~_store_candidates(tree, means, block, *candidates.of(block, alive, dtype))])
            seen += len(block)
            if dtype == torch.float32 and len(lost) == len(alive):
                callback("neighbours", seen, len(lost))
        lost = np.concatenate(unsure)
    each_block(len(lost), 1, lambda a, b: search_all_clusters(tree, means, lost[a:b], alive))


def _store_candidates(
    tree: NeighbourLists,
    means: ClusterMeans,
    slots: Int[np.ndarray, " q"],
    found: Int[np.ndarray, "q k"],
    bounds: Float[np.ndarray, "q k"],
) -> Bool[np.ndarray, " q"]:
    """Write candidates into the lists of clusters; return whether the first of each is certain to be the nearest."""
    is_certain = np.empty(len(slots), dtype=np.bool_)
    each_block(
        len(slots),
        _ROWS,
        lambda a, b: store_candidates(tree, means, slots[a:b], found[a:b], bounds[a:b], is_certain[a:b]),
    )
    return is_certain


def merge_duplicates(
    x: Num[np.ndarray, "n d"], rows: Int[np.ndarray, " r"], sizes: Float[np.ndarray, " r"]
) -> tuple[Int[np.ndarray, " s"], Float[np.ndarray, "t 4"], Float[np.ndarray, " s"]]:
    """Merge equal rows.

    Returns:
        (s,) the first of every group of equal rows, (t, 4) the merges of the others into it, and (s,) its size.
    """
    bits = np.ascontiguousarray(x).view(f"u{x.dtype.itemsize}")
    hashes = np.empty(len(rows), dtype=np.uint64)
    each_block(len(rows), _ROWS, lambda a, b: _hash(bits, rows[a:b], hashes[a:b]))
    first_copy, total = np.arange(len(rows)), sizes.astype(np.float64)
    _find_duplicates(bits, rows, hashes, np.argsort(hashes, kind="stable"), first_copy)
    is_first = first_copy == np.arange(len(rows))
    merges = np.zeros((len(rows) - int(is_first.sum()), 4))
    _merge_into_first(first_copy, total, merges)
    return np.flatnonzero(is_first), merges, total[is_first]


@njit(cache=True, nogil=True)
def _hash(bits: np.ndarray, rows: np.ndarray, hashes: np.ndarray) -> None:
    for i in range(len(rows)):
        row, mixed = bits[rows[i]], np.uint64(0)
        for c in range(len(row)):
            mixed = (mixed ^ np.uint64(row[c])) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(32)
        hashes[i] = mixed


@njit(cache=True, nogil=True)
def _find_duplicates(
    bits: np.ndarray, rows: np.ndarray, hashes: np.ndarray, order: np.ndarray, first_copy: np.ndarray
) -> None:
    first = order[0]
    for i in order[1:]:
        if hashes[i] == hashes[first] and (bits[rows[i]] == bits[rows[first]]).all():
            first_copy[i] = first
        else:
            first = i


@njit(cache=True, nogil=True)
def _merge_into_first(first_copy: np.ndarray, total: np.ndarray, merges: np.ndarray) -> None:
    t = 0
    for row in range(len(first_copy)):
        first = first_copy[row]
        if first != row:
            total[first] += total[row]
            merges[t, 0], merges[t, 1], merges[t, 3] = first, row, total[first]
            t += 1
