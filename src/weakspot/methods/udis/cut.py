"""Cuts of the tree: the range that is scored, their clusters, and the choice among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

TIE = 1e-6
"""Mean silhouettes that differ by no more count as equal: float32 distances are no more precise."""


def cut_range(
    linkage: Float[np.ndarray, "t 4"], sizes: Float[np.ndarray, " m"], smallest: float, largest: float
) -> tuple[int, int]:
    """Return the smallest and the largest number of clusters that a cut may have, as the published search has them.

    One end is the largest number at which every cluster has `smallest` members, the other the largest
    number above 2 at which some cluster still has more than `largest` (or else 2): so that end itself
    breaks `largest`, and it is often the best cut. Either end may be the lower one.

    Args:
        linkage: (t, 4) in SciPy's convention.
        sizes: (m,) of the leaves, in examples.
        smallest: In examples.
        largest: In examples.

    Raises:
        ValueError: Where no two clusters can have `smallest` members.
    """
    m = len(sizes)
    nodes = np.concatenate([sizes, linkage[:, 3]])
    too_small = np.flatnonzero((nodes[linkage[:, :2].astype(np.int64)] < smallest).any(axis=1))
    most = m - 1 - int(too_small[-1]) if len(too_small) else m
    if sizes.max() <= 1:
        most = min(most, m - 1)  # all clusters of one example have no silhouette
    if most < 2:
        raise ValueError(
            f"no cut of these {sizes.sum():g} examples into two or more clusters leaves {smallest:g} in "
            "each; lower min_cluster_size, give more examples, or say with cut how many clusters you want"
        )
    too_large = np.flatnonzero(linkage[:, 3] > largest)
    fewest = m if (sizes > largest).any() else m - 1 - int(too_large[0]) if len(too_large) else 0
    fewest = max(fewest, 2)
    return min(fewest, most), max(fewest, most)


@dataclass(frozen=True, eq=False)
class TreeCut:
    """Holds the k clusters of a cut, and the merges above it.

    Attributes:
        roots: (k,) their nodes, ascending: cluster c is the one under roots[c], the published numbering.
        labels: (m,) the cluster of every leaf.
        tree: (t, 2) the k - 1 merges above the cut: clusters by number, and k + i for the i-th of these merges.
    """

    roots: Int[np.ndarray, " k"]
    labels: Int[np.ndarray, " m"]
    tree: Int[np.ndarray, "t 2"]

    def __len__(self) -> int:
        return len(self.roots)

    def node(self, position: int) -> int:
        """Return the linkage's number of a cluster (position below k) or of a merge above the cut (k and on)."""
        k, m = len(self.roots), len(self.labels)
        return int(self.roots[position]) if position < k else 2 * m - 1 - k + position - k + 1


def cut_at(linkage: Float[np.ndarray, "t 4"], k: int) -> TreeCut:
    """Return the k clusters that are left when the last k - 1 merges are undone."""
    m = len(linkage) + 1
    children = linkage[:, :2].astype(np.int64)
    below = 2 * m - k  # nodes made before the cut
    consumed = np.zeros(below, dtype=bool)
    consumed[children[: m - k].ravel()] = True
    roots = np.flatnonzero(~consumed)
    label = np.empty(below, dtype=np.int64)
    label[roots] = np.arange(k)
    for t in range(m - k - 1, -1, -1):
        label[children[t]] = label[m + t]
    position = np.empty(2 * m - 1, dtype=np.int64)
    position[roots] = np.arange(k)
    position[below:] = np.arange(k, 2 * k - 1)
    return TreeCut(roots, label[:m], position[children[m - k :]])


def best_cut(scores: Mapping[int, float]) -> int:
    """Return the number of clusters with the highest score; of equal scores (see `TIE`) the lowest."""
    highest = max(scores.values())
    return min(k for k, score in scores.items() if score >= highest - TIE)


def hill_climb(scores: Mapping[int, float]) -> int:
    """Return the cut of the published hill climb, which halves the range and may stop at any peak."""
    low, high = min(scores), max(scores)
    while high > low + 1:
        middle = (low + high) // 2
        below, here, above = scores[middle - 1], scores[middle], scores[middle + 1]
        if here > above + TIE and here > below + TIE:
            return middle
        if here > above + TIE and here < below - TIE:
            high = middle - 1
        else:
            low = middle + 1
    return low if scores[low] >= scores[high] - TIE else high
