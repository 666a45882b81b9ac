"""The silhouette of every cut in a range, from one pass over the distances.

Rousseeuw (J. Comput. Appl. Math. 1987): s = (b - a) / max(a, b), with a the mean distance of an example to
the others of its cluster and b the least mean distance to another cluster; 0 in a cluster of one.

A row needs only its sums of distances to the clusters of the finest cut. Going up, a merge adds two of them;
the mean to the merged cluster is at least the smaller of the two, so the nearest cluster is searched for again only if
it was one of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numba import njit

from weakspot.methods.base import Callback
from weakspot.methods.udis.cut import TreeCut
from weakspot.methods.udis.row_blocks import each_block

_ROWS = 64


@dataclass(frozen=True, eq=False)
class CutSequence:
    """Holds the cuts from the finest to the coarsest of a range, as merges from one to the next.

    Attributes:
        sizes: (k,) of the finest clusters.
        steps: (s, 2) step i merges cluster [i, 1], the last of those left, into cluster [i, 0].
        index_of_cluster: (k,) the number that the sequence gives each cluster of the finest cut.
    """

    sizes: Float[np.ndarray, " k"]
    steps: Int[np.ndarray, "s 2"]
    index_of_cluster: Int[np.ndarray, " k"]

    @classmethod
    def of(cls, cut: TreeCut, sizes: Float[np.ndarray, " k"], fewest: int) -> CutSequence:
        """Number the clusters so that each merge on the way up removes the highest number, which keeps scans short.

        Args:
            cut: The finest cut.
            sizes: (k,) of its clusters.
            fewest: The number of clusters of the coarsest cut.
        """
        k = len(cut)
        index_of_cluster = np.empty(2 * k - 1, dtype=np.int64)
        index_of_cluster[-1] = 0
        into = np.empty(k, dtype=np.int64)
        for i in range(k - 2, -1, -1):
            kept, ended = cut.tree[i]
            index_of_cluster[kept], index_of_cluster[ended] = index_of_cluster[k + i], k - 1 - i
            into[k - 1 - i] = index_of_cluster[kept]
        ends = np.arange(k - 1, fewest - 1, -1)
        ordered = np.empty(k)
        ordered[index_of_cluster[:k]] = sizes
        return cls(ordered, np.stack([into[ends], ends], axis=1), index_of_cluster[:k])


def mean_silhouettes(
    squares: Float[np.ndarray, "n n"],
    labels: Int[np.ndarray, " n"],
    counts: Float[np.ndarray, " n"],
    sequence: CutSequence,
    callback: Callback,
) -> Float[np.ndarray, " c"]:
    """Return the mean silhouette of every cut (c,), finest first; examples count as often as `counts` says.

    Args:
        squares: (n, n) squared distances; only the lower triangle is read.
        labels: (n,) the sequence's numbers of the finest clusters.
        counts: (n,) how often each example counts.
        sequence: The cuts.
        callback: Called with the progress.
    """
    n = len(squares)
    starts = range(0, n, _ROWS)
    parts = np.empty((len(starts), len(sequence.steps) + 1))

    def work(start: int, stop: int) -> None:
        sums = np.zeros((stop - start, len(sequence.sizes)))
        add_distances(_rows(squares, start, stop), labels, counts, sums)
        scores = silhouettes(sums, labels[start:stop], sequence)
        parts[start // _ROWS] = counts[start:stop] @ scores

    each_block(n, _ROWS, work, lambda done: callback("silhouettes", done, n))
    means: np.ndarray = parts.sum(axis=0) / counts.sum()
    return means


def _rows(squares: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Return some rows of a symmetric matrix of which only the lower triangle is valid."""
    rows = np.empty((stop - start, len(squares)), dtype=squares.dtype)
    rows[:, :stop] = squares[start:stop, :stop]
    rows[:, stop:] = squares[stop:, start:stop].T
    for i in range(stop - start):
        rows[i, start + i + 1 : stop] = squares[start + i + 1 : stop, start + i]
    return rows


def silhouettes(
    sums: Float[np.ndarray, "r k"], own: Int[np.ndarray, " r"], sequence: CutSequence
) -> Float[np.ndarray, "r c"]:
    """Return the silhouette of each row at every cut (r, c).

    Args:
        sums: (r, k) of distances to each of the finest clusters; it is overwritten.
        own: (r,) the finest cluster of each row.
        sequence: The cuts.
    """
    scores = np.empty((len(sums), len(sequence.steps) + 1))
    _score_cuts(sums, own, sequence.sizes, sequence.steps, scores)
    return scores


@njit(cache=True, nogil=True)
def add_distances(squares: np.ndarray, labels: np.ndarray, counts: np.ndarray, sums: np.ndarray) -> None:
    """Add counts · distance to `sums` (r, k), column by the label; `squares` is (r, n)."""
    distances = np.empty(squares.shape[1])
    for i in range(len(squares)):
        for j in range(len(distances)):
            distances[j] = np.sqrt(squares[i, j])
        row = sums[i]
        for j in range(len(distances)):
            row[labels[j]] += counts[j] * distances[j]


@njit(cache=True, nogil=True)
def _score_cuts(
    sums: np.ndarray, own: np.ndarray, finest: np.ndarray, steps: np.ndarray, scores: np.ndarray
) -> None:
    sizes = np.empty_like(finest)
    for i in range(len(sums)):
        sizes[:] = finest
        mine = own[i]
        within = sums[i, mine]
        means = sums[i]
        means /= sizes
        means[mine] = np.inf
        nearest = np.argmin(means)
        scores[i, 0] = _score(within, sizes[mine], means[nearest])
        for s in range(len(steps)):
            kept, ended = steps[s]
            if mine in (kept, ended):
                other = ended if mine == kept else kept
                within += means[other] * sizes[other]
                mine = kept
                means[kept] = np.inf
            else:
                total = means[kept] * sizes[kept] + means[ended] * sizes[ended]
                means[kept] = total / (sizes[kept] + sizes[ended])
            sizes[kept] += sizes[ended]
            if nearest in (kept, ended):
                nearest = np.argmin(means[:ended])
            scores[i, s + 1] = _score(within, sizes[mine], means[nearest])


@njit(cache=True, nogil=True, inline="always")
def _score(within: float, size: float, between: float) -> float:
    """Return s = (b - a) / max(a, b)."""
    if size <= 1:
        return 0.0
    inner = within / (size - 1)
    largest = max(inner, between)
    return (between - inner) / largest if largest > 0 else 0.0
