"""Clusters the leaves, scores every cut in the range, and chooses one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from weakspot.methods.base import Callback
from weakspot.methods.udis.cut import TreeCut, best_cut, cut_at, cut_range, hill_climb
from weakspot.methods.udis.silhouette import CutSequence


@runtime_checkable
class Leaves(Protocol):
    """Are what is clustered: examples, or micro-clusters of them."""

    @property
    def labels(self) -> Int[np.ndarray, " r"]:
        """Return the leaf of every audited row."""

    @property
    def sizes(self) -> Float[np.ndarray, " m"]:
        """Return the examples in every leaf."""

    @property
    def max_clusters(self) -> int:
        """Return the largest number of clusters that a cut may have."""

    def linkage(self, callback: Callback) -> Float[np.ndarray, "t 4"]:
        """Return Ward's tree in SciPy's convention."""

    def silhouettes(
        self, labels: Int[np.ndarray, " r"], sequence: CutSequence, callback: Callback
    ) -> tuple[Float[np.ndarray, " c"], Float[np.ndarray, " c"] | None]:
        """Return the mean silhouette of every cut, and its standard error where it was sampled."""


class RowLeaves:
    """Are leaves of which each is one audited example."""

    sizes: Float[np.ndarray, " r"]

    @property
    def labels(self) -> Int[np.ndarray, " r"]:
        """Return the leaf of every audited row: itself."""
        return np.arange(len(self.sizes))

    @property
    def max_clusters(self) -> int:
        """Return the largest number of clusters that a cut may have."""
        return len(self.sizes)


@dataclass(frozen=True)
class CutRequest:
    """Says which cut is wanted.

    Attributes:
        clusters: The number of clusters; None for the cut that `search` chooses.
        smallest: The least size of a cluster, in examples, for the range of cuts.
        largest: The largest size of a cluster, in examples, for the range of cuts.
        search: "exact" or "published".
    """

    clusters: int | None
    smallest: float
    largest: float
    search: str


@dataclass(frozen=True, eq=False)
class Clustering:
    """Holds a tree over the leaves, the chosen cut, and the cluster of every audited row.

    Attributes:
        linkage: (t, 4) the tree in SciPy's convention.
        cut: The chosen cut.
        labels: (r,) the cluster of every audited row.
        scores: The mean silhouette by number of clusters.
        errors: Its standard error, where it was sampled.
    """

    linkage: Float[np.ndarray, "t 4"]
    cut: TreeCut
    labels: Int[np.ndarray, " r"]
    scores: Mapping[int, float]
    errors: Mapping[int, float]


def cluster(leaves: Leaves, request: CutRequest, callback: Callback) -> Clustering:
    """Cluster the leaves and choose a cut.

    Raises:
        ValueError: Where the requested cut does not exist.
    """
    sizes = leaves.sizes
    linkage = leaves.linkage(callback)
    if request.clusters is None:
        low, high = cut_range(linkage, sizes, request.smallest, request.largest)
        high = min(high, leaves.max_clusters)
        low = low if low <= high else 2
    else:
        low = high = min(request.clusters, len(sizes))  # micro-clusters may be fewer than asked for
    finest = cut_at(linkage, high)
    scores: dict[int, float] = {}
    errors: dict[int, float] = {}
    counts = np.bincount(finest.labels, weights=sizes)
    if low > 1 and counts.max() > 1:  # clusters of one example have no silhouette
        sequence = CutSequence.of(finest, counts, low)
        means, spread = leaves.silhouettes(sequence.number[finest.labels[leaves.labels]], sequence, callback)
        by_size = range(high, low - 1, -1)
        scores = dict(sorted(zip(by_size, means.tolist(), strict=True)))
        if spread is not None:
            errors = dict(sorted(zip(by_size, spread.tolist(), strict=True)))
    if request.clusters is None:
        high = hill_climb(scores) if request.search == "published" else best_cut(scores)
    cut = cut_at(linkage, high)
    return Clustering(linkage, cut, cut.labels[leaves.labels], scores, errors)
