"""Micro-clusters as leaves, for when exact clustering takes too long; silhouettes are those of a sample of rows.

Coarse cuts into well-separated groups agree with those of exact clustering, others do not (docs/udis.md has numbers).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from weakspot.methods.base import Callback
from weakspot.methods.udis.distance_sums import DistanceSums
from weakspot.methods.udis.distances import CentredRows, mean_row, nearest, squared_distances
from weakspot.methods.udis.node_statistics import row_sums
from weakspot.methods.udis.reciprocal import merge_duplicates
from weakspot.methods.udis.silhouette import CutSequence, silhouettes
from weakspot.methods.udis.ward import to_ward_distances, ward

_ROWS = 8192
_SAMPLE = 512  # rows whose silhouettes are computed, against all examples
_PER_CENTER = 64  # rows per centre that k-means is fitted on
_ITERATIONS = 10
_COARSE, _PER_CLUSTER = 24, 40  # cuts of up to 24 clusters, or one per 40 micro-clusters, are coarse


@dataclass(frozen=True, eq=False)
class MicroClusters:
    """Groups of nearby rows as the leaves of the tree, each standing for its members.

    Attributes:
        embeddings: (n, d) of the record.
        rows: (r,) which of them are audited.
        counts: (r,) how often each audited row counts.
        mean: (d,) the origin of all distances.
        seed: The seed of the sample of rows that silhouettes are averaged over.
        labels: (r,) the micro-cluster of every audited row.
        centers: (m, d) in float64.
        sizes: (m,) the sum of their members' counts.
    """

    embeddings: Float[np.ndarray, "n d"]
    rows: Int[np.ndarray, " r"]
    counts: Float[np.ndarray, " r"]
    mean: Float[np.ndarray, " d"]
    seed: int
    labels: Int[np.ndarray, " r"]
    centers: Float[np.ndarray, "m d"]
    sizes: Float[np.ndarray, " m"]

    @classmethod
    def of(
        cls,
        embeddings: Float[np.ndarray, "n d"],
        rows: Int[np.ndarray, " r"],
        counts: Float[np.ndarray, " r"],
        m: int,
        seed: int,
        callback: Callback,
    ) -> MicroClusters:
        """Make about m micro-clusters (fewer if rows coincide), by k-means in two levels.

        There are √m coarse groups, and in each a number of micro-clusters in proportion to its share of the rows: an
        example is then compared with √m centres twice, not with m.
        """
        random, mean = np.random.default_rng(seed), mean_row(embeddings)
        coarse = _fit(embeddings, rows, counts, mean, round(np.sqrt(m)), random)
        groups = _nearest(embeddings, rows, mean, coarse)
        labels = np.empty(len(rows), dtype=np.int64)
        used = done = 0
        for group in np.split(np.argsort(groups, kind="stable"), np.cumsum(np.bincount(groups))[:-1]):
            if len(group):
                quota = max(1, round(m * len(group) / len(rows)))
                fine = _fit(embeddings, rows[group], counts[group], mean, quota, random)
                labels[group] = used + _nearest(embeddings, rows[group], mean, fine)
                used += len(fine.x)
                done += len(group)
                callback("micro-clusters", done, len(rows))
        present, labels = np.unique(labels, return_inverse=True)
        sizes = np.bincount(labels, weights=counts)
        centers = row_sums(labels, rows, counts, embeddings, len(present)) / sizes[:, None]
        return cls(embeddings, rows, counts, mean, seed, labels, centers, sizes)

    @property
    def max_clusters(self) -> int:
        """Return the largest number of clusters that a cut may have: finer cuts agree too little with exact ones."""
        distinct, _, _ = merge_duplicates(self.embeddings, self.rows, self.counts)
        if len(distinct) == len(self.sizes):
            return len(self.sizes)  # only equal rows are together, so nothing is lost
        return max(_COARSE, len(self.sizes) // _PER_CLUSTER)

    def linkage(self, callback: Callback) -> Float[np.ndarray, "t 4"]:
        """Return Ward's tree in SciPy's convention."""
        points = CentredRows.about(self.mean, self.centers, "float64")
        squares = squared_distances(points, points)
        to_ward_distances(squares, self.sizes)
        return ward(squares, self.sizes, callback)

    def silhouettes(
        self, labels: Int[np.ndarray, " r"], sequence: CutSequence, callback: Callback
    ) -> tuple[Float[np.ndarray, " c"], Float[np.ndarray, " c"]]:
        """Return the mean silhouette of every cut over a sample of rows, and its standard error.

        A sampled row's distances to all rows are exact (float32); only the choice of rows is random. Rows are drawn in
        proportion to their counts, so that the plain mean estimates the weighted one. If all rows fit into the sample,
        all are taken, and the result is exact.
        """
        share = self.counts / self.counts.sum()
        few = len(self.rows) <= _SAMPLE
        chosen = (
            np.arange(len(self.rows))
            if few
            else np.sort(np.random.default_rng(self.seed).choice(len(self.rows), _SAMPLE, p=share))
        )
        sums = DistanceSums(
            self.embeddings, self.rows, self.counts, self.mean, "float32", torch.device("cpu")
        )
        scores = silhouettes(sums.of(chosen, labels, len(sequence.sizes)), labels[chosen], sequence)
        callback("silhouettes", len(chosen), len(chosen))
        if few:
            return share @ scores, np.zeros(scores.shape[1])
        return scores.mean(axis=0), scores.std(axis=0, ddof=1) / np.sqrt(len(chosen))


def _nearest(
    embeddings: Float[np.ndarray, "n d"],
    rows: Int[np.ndarray, " r"],
    mean: Float[np.ndarray, " d"],
    centers: CentredRows,
) -> Int[np.ndarray, " r"]:
    """Return the nearest centre of every row."""
    numbers = np.empty(len(rows), dtype=np.int64)
    for start in range(0, len(rows), _ROWS):
        block = CentredRows.about(mean, embeddings[rows[start : start + _ROWS]], "float32")
        numbers[start : start + _ROWS] = nearest(block, centers)
    return numbers


def _fit(
    embeddings: Float[np.ndarray, "n d"],
    rows: Int[np.ndarray, " r"],
    counts: Float[np.ndarray, " r"],
    mean: Float[np.ndarray, " d"],
    k: int,
    random: np.random.Generator,
) -> CentredRows:
    """Fit at most k centres on a sample of the rows, relative to `mean`."""
    if len(rows) > k * _PER_CENTER:
        chosen = np.sort(random.choice(len(rows), k * _PER_CENTER, replace=False))
        rows, counts = rows[chosen], counts[chosen]
    sample = CentredRows.about(mean, embeddings[rows], "float32").x
    model = KMeans(
        min(k, len(rows)),
        init="random",
        n_init=1,
        max_iter=_ITERATIONS,
        tol=0,
        random_state=int(random.integers(2**31)),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # coinciding rows leave centres without members
        model.fit(sample, sample_weight=counts)
    centers = model.cluster_centers_.astype(np.float32, copy=False)
    return CentredRows(centers, np.einsum("ij,ij->i", centers, centers))
