"""The choice of a cut: the range of candidates, the score of each, and which one is taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from weakspot.methods.base import Callback
from weakspot.methods.udis.cut import TreeCut, cut_at
from weakspot.methods.udis.leaves import Leaves
from weakspot.methods.udis.silhouette import CutSequence

TIE = 1e-6
"""Mean silhouettes that differ by no more count as equal: float32 distances are no more precise."""


@dataclass(frozen=True)
class CutRequest:
    """The cut that is requested.

    Attributes:
        clusters: The number of clusters; None for the cut that `search` chooses.
        smallest: The smallest size of a cluster, in examples, for the range of cuts.
        largest: The largest size of a cluster, in examples, for the range of cuts.
        search: "exact" or "published".
    """

    clusters: int | None
    smallest: float
    largest: float
    search: str


@dataclass(frozen=True, eq=False)
class ChosenCut:
    """Holds the chosen cut, and the scores that it was chosen by.

    Attributes:
        cut: The cut.
        labels: (r,) the cluster of every audited row.
        scores: The mean silhouette by number of clusters.
        errors: Its standard error by number of clusters, if it was sampled.
    """

    cut: TreeCut
    labels: Int[np.ndarray, " r"]
    scores: Mapping[int, float]
    errors: Mapping[int, float]


def choose_cut(
    leaves: Leaves, linkage: Float[np.ndarray, "t 4"], request: CutRequest, callback: Callback
) -> ChosenCut:
    """Choose the requested cut, or the one with the highest mean silhouette, and score all cuts in the range.

    Args:
        leaves: What was clustered.
        linkage: (t, 4) their tree in SciPy's convention.
        request: The requested cut.
        callback: Called with the progress.

    Raises:
        ValueError: If the requested cut does not exist.
    """
    sizes = leaves.sizes
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
        means, spread = leaves.silhouettes(
            sequence.index_of_cluster[finest.labels[leaves.labels]], sequence, callback
        )
        by_size = range(high, low - 1, -1)
        scores = dict(sorted(zip(by_size, means.tolist(), strict=True)))
        if spread is not None:
            errors = dict(sorted(zip(by_size, spread.tolist(), strict=True)))
    if request.clusters is None:
        high = hill_climb(scores) if request.search == "published" else best_cut(scores)
    cut = cut_at(linkage, high)
    return ChosenCut(cut, cut.labels[leaves.labels], scores, errors)


def cut_range(
    linkage: Float[np.ndarray, "t 4"], sizes: Float[np.ndarray, " m"], smallest: float, largest: float
) -> tuple[int, int]:
    """Return the smallest and the largest number of clusters that a cut may have, as in the published search.

    One end is the largest number at which every cluster has at least `smallest` members; the other is the largest
    number above 2 at which some cluster still has more than `largest`, or else 2. So the latter end itself violates
    `largest`, and it is often the best cut. Either end may be the lower one.

    Args:
        linkage: (t, 4) in SciPy's convention.
        sizes: (m,) of the leaves, in examples.
        smallest: The smallest size of a cluster, in examples.
        largest: The largest size of a cluster, in examples.

    Raises:
        ValueError: If no cut into two or more clusters leaves `smallest` members in each.
    """
    m = len(sizes)
    nodes = np.concatenate([sizes, linkage[:, 3]])
    too_small = np.flatnonzero((nodes[linkage[:, :2].astype(np.int64)] < smallest).any(axis=1))
    most = m - 1 - int(too_small[-1]) if len(too_small) else m
    if sizes.max() <= 1:
        most = min(most, m - 1)  # if all clusters have one example, there is no silhouette
    if most < 2:
        raise ValueError(
            f"no cut of these {sizes.sum():g} examples into two or more clusters leaves {smallest:g} in "
            "each; lower min_cluster_size, give more examples, or set cut to a number of clusters"
        )
    too_large = np.flatnonzero(linkage[:, 3] > largest)
    fewest = m if (sizes > largest).any() else m - 1 - int(too_large[0]) if len(too_large) else 0
    fewest = max(fewest, 2)
    return min(fewest, most), max(fewest, most)


def best_cut(scores: Mapping[int, float]) -> int:
    """Return the number of clusters with the highest score; among equal scores (see `TIE`), the lowest."""
    highest = max(scores.values())
    return min(k for k, score in scores.items() if score >= highest - TIE)


def hill_climb(scores: Mapping[int, float]) -> int:
    """Return the cut of the published hill climb, which halves the range and may stop at a local maximum."""
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
