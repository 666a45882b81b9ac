"""Cluster, score every cut in the range, choose one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from weakspot.methods.base import Callback
from weakspot.methods.udis.cut import Cut, best, bounds, climb, cut_at
from weakspot.methods.udis.silhouette import Ladder


@runtime_checkable
class Leaves(Protocol):
    """What is clustered: examples, or micro-clusters of them."""

    @property
    def labels(self) -> Int[np.ndarray, " r"]: ...

    @property
    def sizes(self) -> Float[np.ndarray, " m"]: ...

    @property
    def finest(self) -> int: ...

    def linkage(self, callback: Callback) -> Float[np.ndarray, "t 4"]: ...

    def silhouettes(
        self, labels: Int[np.ndarray, " r"], ladder: Ladder, callback: Callback
    ) -> tuple[Float[np.ndarray, " c"], Float[np.ndarray, " c"] | None]: ...


@dataclass(frozen=True)
class Wanted:
    """Which cut: into `clusters`, or (None) the one that `search` picks between the bounds of two sizes."""

    clusters: int | None
    smallest: float
    largest: float
    search: str


@dataclass(frozen=True, eq=False)
class Clustering:
    """A tree over the leaves, the cut chosen, and the cluster of every audited row.

    scores, errors   mean silhouette by number of clusters, and its standard error where it was sampled
    """

    linkage: Float[np.ndarray, "t 4"]
    cut: Cut
    labels: Int[np.ndarray, " r"]
    scores: Mapping[int, float]
    errors: Mapping[int, float]


def cluster(leaves: Leaves, wanted: Wanted, callback: Callback) -> Clustering:
    """Raises ValueError where the wanted cut does not exist."""
    sizes = leaves.sizes
    linkage = leaves.linkage(callback)
    if wanted.clusters is None:
        low, high = bounds(linkage, sizes, wanted.smallest, wanted.largest)
        high = min(high, leaves.finest)
        low = low if low <= high else 2
    else:
        low = high = min(wanted.clusters, len(sizes))  # micro-clusters may be fewer than asked for
    finest = cut_at(linkage, high)
    scores: dict[int, float] = {}
    errors: dict[int, float] = {}
    counts = np.bincount(finest.labels, weights=sizes)
    if low > 1 and counts.max() > 1:  # clusters of one example have no silhouette
        ladder = Ladder.of(finest, counts, low)
        means, spread = leaves.silhouettes(ladder.number[finest.labels[leaves.labels]], ladder, callback)
        by_size = range(high, low - 1, -1)
        scores = dict(sorted(zip(by_size, means.tolist(), strict=True)))
        if spread is not None:
            errors = dict(sorted(zip(by_size, spread.tolist(), strict=True)))
    if wanted.clusters is None:
        high = climb(scores) if wanted.search == "published" else best(scores)
    cut = cut_at(linkage, high)
    return Clustering(linkage, cut, cut.labels[leaves.labels], scores, errors)
