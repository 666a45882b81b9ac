"""k-means as a method: scikit-learn's clusters, and a planted slice among them."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_array_equal
from sklearn.cluster import KMeans

from weakspot import Predictions
from weakspot.evaluation.synthetic import planted_predictions
from weakspot.methods.kmeans import Kmeans


def test_slices_are_scikit_learns_clusters_of_highest_mean_loss():
    """These groups are so far apart that every start ends in the same clusters."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(7, 3)) * 40 + 1e5
    x, new = (centres[rng.integers(7, size=n)] + rng.normal(size=(n, 3)) for n in (300, 100))
    losses = rng.exponential(size=300)
    p, other = Predictions.from_arrays(x, losses=losses), Predictions.from_arrays(new)
    ours = Kmeans(n_slices=7, n_clusters=7, min_size=30).fit(p)
    theirs = KMeans(7, n_init=10, random_state=0).fit(x)
    mean = np.array([losses[theirs.labels_ == j].mean() for j in range(7)])
    kept = [j for j in np.argsort(-mean) if mean[j] > losses.mean() and (theirs.labels_ == j).sum() >= 30]
    assert 2 <= len(kept) < 7
    assert_array_equal(ours.slices_.weights.T, theirs.labels_[:, None] == kept)
    assert_array_equal(ours.membership(other), theirs.predict(new)[:, None] == kept)


def test_a_planted_slice_is_a_cluster():
    found = 0
    for seed in range(5):
        p, planted = planted_predictions(4.0, 2000, seed)
        weights = Kmeans(n_clusters=20).fit(p).slices_.weights
        found += bool((weights @ planted > 0.7 * weights.sum(axis=1)).any())
    assert found >= 4


def test_equal_losses_give_no_slices():
    p = Predictions.from_arrays(np.random.default_rng(0).normal(size=(200, 3)), losses=np.full(200, 0.1))
    assert len(Kmeans().fit(p).slices_) == 0
