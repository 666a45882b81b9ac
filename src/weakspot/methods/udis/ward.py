"""Ward's hierarchical clustering (JASA 1963) by the nearest-neighbour chain, in place in half a matrix.

Ward's criterion is reducible: a merge never brings the result nearer to a third cluster than its nearer part
was. So mutual nearest neighbours may be merged in any order and sorted by height afterwards (Murtagh,
Computer Journal 1983; Müllner, arXiv:1109.2378, §3.2), in O(n²) steps; the merges are those of scikit-learn and SciPy.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numba import njit

from weakspot.methods.base import Callback

_REPORTS = 20
# The share of living slots below which the matrix is packed, so that scans and strides stay short.
_PACK_BELOW = 0.7


def ward(
    squares: Float[np.ndarray, "m m"], sizes: Float[np.ndarray, " m"], callback: Callback
) -> Float[np.ndarray, "t 4"]:
    """Return the linkage of m points in SciPy's convention. It overwrites the upper triangle of `squares` only.

    Row t merges nodes [t, 0] < [t, 1] at height [t, 2] (not squared) into node m + t, of size [t, 3].

    Args:
        squares: Squared Ward distances of the points: 2·a·b/(a + b)·‖x_a - x_b‖² for sizes a and b.
        sizes: How many examples each point stands for.

    Raises:
        ValueError: If distances are not finite, or would overflow.
    """
    m = len(squares)
    _check_range(squares, float(sizes.sum()))
    merges = np.empty((m - 1, 4))
    slots = _Slots(sizes.astype(np.float64), np.zeros(m), np.arange(m), np.ones(m, dtype=np.bool_))
    chain, length, width = np.empty(m, dtype=np.int64), 0, m
    ends = np.linspace(0, m - 1, min(_REPORTS, m - 1) + 1).astype(np.int64)
    for start, stop in pairwise(ends.tolist()):
        width, length = _merge(squares, *slots, chain, length, width, merges, start, stop)
        callback("merging", stop, m - 1)
    return linkage_of(merges)


def linkage_of(merges: Float[np.ndarray, "t 4"]) -> Float[np.ndarray, "t 4"]:
    """Convert merges of points at squared heights to SciPy's convention; they may be in any order with parts first."""
    merges = merges[np.argsort(merges[:, 2], kind="stable")]
    _name_nodes(merges)
    merges[:, 2] = np.sqrt(merges[:, 2])
    return merges


def to_ward_distances(squares: Float[np.ndarray, "m m"], sizes: Float[np.ndarray, " m"]) -> None:
    """Turn the upper triangle of squared distances into squared Ward distances, in place."""
    if (sizes != 1).any():
        with np.errstate(over="ignore", invalid="ignore"):  # `ward` rejects the results
            for i, size in enumerate(sizes):
                others = sizes[i + 1 :]
                squares[i, i + 1 :] *= 2 * size * others / (size + others)


def _check_range(squares: Float[np.ndarray, "m m"], total: float) -> None:
    """Raise ValueError for distances that may overflow: the compiled merging needs a nearest for every cluster.

    While clusters merge, distances are multiplied by sizes, which add up to `total`: once in what is stored, and once
    more in the float64 intermediates.
    """
    kept, between = np.finfo(squares.dtype).max / (8 * total), np.finfo(np.float64).max / (8 * total) / total
    limit = min(kept, between)
    for i, row in enumerate(squares):
        if not (row[i + 1 :] <= limit).all():
            raise ValueError(
                f"Ward distances of embeddings this large and of {total:g} examples are beyond what "
                f"{squares.dtype} holds; rescale the embeddings, or the counts"
            )


class _Slots(NamedTuple):
    """Holds for every row of the matrix the cluster's size, squared height, one of its points, and whether it lives."""

    sizes: Float[np.ndarray, " m"]
    heights: Float[np.ndarray, " m"]
    points: Int[np.ndarray, " m"]
    alive: Bool[np.ndarray, " m"]


@njit(cache=True, nogil=True)
def _merge(
    squares: np.ndarray,
    sizes: np.ndarray,
    heights: np.ndarray,
    points: np.ndarray,
    alive: np.ndarray,
    chain: np.ndarray,
    length: int,
    width: int,
    merges: np.ndarray,
    start: int,
    stop: int,
) -> tuple[int, int]:
    """Make merges start…stop - 1: point, point, squared height, size. A merged cluster takes its parts' higher slot."""
    m = len(squares)
    for t in range(start, stop):
        if m - t < _PACK_BELOW * width:
            width = _pack(squares, sizes, heights, points, alive, chain, length, width)
        if length == 0:
            chain[0] = np.argmax(alive[:width])
            length = 1
        while True:
            x = chain[length - 1]
            # On a tie the chain turns back; otherwise it could run in circles.
            previous = chain[length - 2] if length > 1 else -1
            y = previous
            nearest = squares[min(x, y), max(x, y)] if length > 1 else np.inf
            for i in range(x):
                if squares[i, x] < nearest and alive[i]:
                    nearest = squares[i, x]
                    y = i
            for i in range(x + 1, width):
                if squares[x, i] < nearest and alive[i]:
                    nearest = squares[x, i]
                    y = i
            if y == previous:
                break
            chain[length] = y
            length += 1
        length -= 2
        x, y = min(x, y), max(x, y)
        a, b = sizes[x], sizes[y]
        alive[x] = False
        for i in range(width):
            if alive[i] and i != y:
                c = sizes[i]
                low, high = min(i, y), max(i, y)
                # Lance and Williams. Rounding must not pull a distance below zero.
                joined = (a + c) * squares[min(i, x), max(i, x)] + (b + c) * squares[low, high] - c * nearest
                squares[low, high] = max(joined / (a + b + c), 0.0)
        # Rounding may put a tied parent below its child; the sort by height needs it above.
        height = max(nearest, heights[x], heights[y])
        sizes[y], heights[y] = a + b, height
        merges[t, 0], merges[t, 1], merges[t, 2], merges[t, 3] = points[x], points[y], height, a + b
    return width, length


@njit(cache=True, nogil=True)
def _pack(
    squares: np.ndarray,
    sizes: np.ndarray,
    heights: np.ndarray,
    points: np.ndarray,
    alive: np.ndarray,
    chain: np.ndarray,
    length: int,
    width: int,
) -> int:
    """Move the living slots to the front, in the same order; return how many there are."""
    living = np.flatnonzero(alive[:width])
    moved = np.empty(width, dtype=np.int64)
    for a in range(len(living)):
        i = living[a]
        moved[i] = a
        sizes[a], heights[a], points[a], alive[a] = sizes[i], heights[i], points[i], True
        for b in range(a + 1, len(living)):
            squares[a, b] = squares[i, living[b]]
    for position in range(length):
        chain[position] = moved[chain[position]]
    return len(living)


@njit(cache=True, nogil=True)
def _name_nodes(merges: np.ndarray) -> None:
    """Replace points by nodes: the clusters that hold them after the earlier merges."""
    m = len(merges) + 1
    parent = np.arange(2 * m - 1)
    for t in range(m - 1):
        for side in range(2):
            point = int(merges[t, side])
            root = point
            while parent[root] != root:
                root = parent[root]
            while parent[point] != root:
                parent[point], point = root, parent[point]
            merges[t, side] = root
        a, b = int(merges[t, 0]), int(merges[t, 1])
        merges[t, 0], merges[t, 1] = min(a, b), max(a, b)
        parent[a] = parent[b] = m + t
