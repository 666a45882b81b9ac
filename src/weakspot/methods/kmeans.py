"""The clusters of the embeddings with the highest mean loss."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from weakspot.methods.base import Callback, Method, embeddings_for, no_progress, parameters_of
from weakspot.methods.ordered_examples import OrderedExamples, worst_groups
from weakspot.methods.setting_checks import check_at_least, check_at_most_examples
from weakspot.predictions import Predictions
from weakspot.tasks import Task


class Kmeans(Method):
    """Finds the k-means clusters with the highest mean loss: the usual first attempt.

    Lloyd: Least squares quantization in PCM, IEEE Transactions on Information Theory 28 (1982); initialised by
    k-means++ (Arthur and Vassilvitskii, 2007).

    An example belongs to the cluster whose centre is nearest; memberships are 0 or 1.

    Args:
        n_slices: The largest number of slices; only clusters that do worse than all examples together are slices.
        n_clusters: The number of clusters that the examples are split into.
        min_size: The fewest examples in a slice.
        n_init: The number of initialisations, of which the best result is kept.
        seed: The seed of the initialisations.
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
        check_at_most_examples(self, "n_clusters", n)

    def fit(self, p: Predictions, callback: Callback | None = None) -> Kmeans:
        """Cluster the embeddings of `p`, and keep the clusters that fail most."""
        self.check(p.row_counts.sum(), p.task)
        report_progress = callback or no_progress
        report_progress("clusters", 0, 1)
        examples = OrderedExamples.of(p)
        fitted = fit_k_means(examples.x, examples.counts, self.n_clusters, self.n_init, self.seed)
        centers = np.unique(fitted.cluster_centers_, axis=0)  # empty clusters coincide with others
        clusters = _nearest(examples.x, centers, np.arange(len(centers)))
        sizes, losses = examples.counts @ clusters, (examples.counts * examples.losses) @ clusters
        chosen = worst_groups(examples, sizes, losses, self.n_slices, self.min_size)
        self.slices_ = examples.slices(self, p, clusters[:, chosen], {"centers": centers, "chosen": chosen})
        report_progress("clusters", 1, 1)
        return self

    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """Return 1 where the nearest centre is that of the slice."""
        centers, chosen = parameters_of(self._fitted(p), "centers", "chosen")
        x = embeddings_for(p.embeddings, centers.shape[1], "the clusters")
        return _nearest(x, centers, chosen).astype(np.float64)


def fit_k_means(
    x: Float[np.ndarray, "n d"], counts: Float[np.ndarray, " n"], n_clusters: int, n_init: int, seed: int
) -> Any:
    """Return scikit-learn's KMeans, fitted to examples (n, d) with counts.

    If there are fewer distinct examples than clusters, some clusters stay empty, without a warning.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = KMeans(min(n_clusters, len(x)), n_init=n_init, random_state=seed)
        return model.fit(x, sample_weight=counts)


def _nearest(x: np.ndarray, centers: Float[np.ndarray, "g d"], chosen: np.ndarray) -> Bool[np.ndarray, "n k"]:
    """Return for each example whether each chosen centre is the nearest of all g."""
    from sklearn.metrics import pairwise_distances_argmin

    middle = centers.mean(axis=0)  # Far from the origin, differences would be lost to rounding.
    nearest = pairwise_distances_argmin(np.asarray(x, dtype=np.float64) - middle, centers - middle)
    return np.asarray(nearest[:, None] == chosen)
