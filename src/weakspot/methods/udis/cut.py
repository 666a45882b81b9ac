"""A cut of the tree: its clusters, and the merges above it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class TreeCut:
    """Holds the k clusters of a cut, and the merges above it.

    Attributes:
        roots: (k,) their nodes, ascending: cluster c is the one under roots[c], as in the published numbering.
        labels: (m,) the cluster of every leaf.
        tree: (t, 2) the k - 1 merges above the cut: clusters by number, and k + i for the i-th of these merges.
    """

    roots: Int[np.ndarray, " k"]
    labels: Int[np.ndarray, " m"]
    tree: Int[np.ndarray, "t 2"]

    def __len__(self) -> int:
        return len(self.roots)

    def node(self, position: int) -> int:
        """Return the node in the linkage of a cluster (position < k) or of a merge above the cut (position ≥ k)."""
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
