"""Clusters of the embeddings, those of the highest mean loss."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from weakspot.methods.base import Callback, Method, embeddings_for, parameters_of
from weakspot.methods.parts import Examples, check_at_least, check_parts, counts_of, k_means, worst
from weakspot.predictions import Predictions
from weakspot.tasks import Task


class Kmeans(Method):
    """The clusters of k-means in which the mean loss is highest: what everybody tries first.

    Lloyd: Least squares quantization in PCM, IEEE Transactions on Information Theory 28 (1982); started as by Arthur
    and Vassilvitskii (2007).

    n_slices     at most; all of them do worse than the whole
    n_clusters   that the examples are split into
    min_size     examples in a slice, at least
    n_init       starts, of which the best counts
    seed         of the starts

    An example belongs to the cluster whose centre is nearest, wholly or not at all.
    """

    word = "kmeans"
    noun = "Cluster"
    size_parameter = "min_size"

    def __init__(
        self, n_slices: int = 5, n_clusters: int = 10, min_size: int = 20, n_init: int = 10, seed: int = 0
    ) -> None:
        self.n_slices = n_slices
        self.n_clusters = n_clusters
        self.min_size = min_size
        self.n_init = n_init
        self.seed = seed

    def check(self, n: float, task: Task | None) -> None:
        check_at_least(self, n_slices=1, n_clusters=2, min_size=1, n_init=1)
        check_parts(self, "n_clusters", n)

    def fit(self, p: Predictions, callback: Callback | None = None) -> Kmeans:
        """Cluster the embeddings of `p`, and keep the clusters that fail most."""
        self.check(counts_of(p).sum(), p.task)
        tell = callback or (lambda stage, done, total: None)
        tell("clusters", 0, 1)
        some = Examples.of(p)
        fitted = k_means(some.x, some.counts, self.n_clusters, self.n_init, self.seed)
        centers = np.unique(fitted.cluster_centers_, axis=0)  # empty clusters lie on others
        clusters = _nearest(some.x, centers, np.arange(len(centers)))
        sizes, losses = some.counts @ clusters, (some.counts * some.bad) @ clusters
        chosen = worst(some, sizes, losses, self.n_slices, self.min_size)
        self.slices_ = some.slices(self, p, clusters[:, chosen], {"centers": centers, "chosen": chosen})
        tell("clusters", 1, 1)
        return self

    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """1 where the nearest centre is that of the slice."""
        centers, chosen = parameters_of(self._fitted(), "centers", "chosen")
        x = embeddings_for(p.embeddings, centers.shape[1], "the clusters")
        return _nearest(x, centers, chosen).astype(np.float64)


def _nearest(x: np.ndarray, centers: Float[np.ndarray, "g d"], chosen: np.ndarray) -> Bool[np.ndarray, "n k"]:
    from sklearn.metrics import pairwise_distances_argmin

    middle = centers.mean(axis=0)  # far from it, differences would be all rounding
    nearest = pairwise_distances_argmin(np.asarray(x, dtype=np.float64) - middle, centers - middle)
    return np.asarray(nearest[:, None] == chosen)
