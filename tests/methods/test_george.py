"""Subclasses: scikit-learn's silhouette, the true number of clusters, and a planted slice among them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.spatial.distance import cdist
from sklearn.metrics import silhouette_score

from weakspot import Predictions
from weakspot.evaluation.synthetic import planted_predictions
from weakspot.methods import apply
from weakspot.methods.george import George, silhouette
from weakspot.tasks import Classification


def test_the_silhouette_equals_scikit_learns_on_repeated_rows():
    rng = np.random.default_rng(0)
    x, labels, counts = rng.normal(size=(60, 3)), rng.integers(0, 4, 60), rng.integers(1, 4, 60)
    x[labels == 2] += 2
    labels[0] = 7  # a cluster of one
    counts[0] = 1
    rows = np.repeat(np.arange(60), counts)
    expected = silhouette_score(cdist(x[rows], x[rows]), labels[rows], metric="precomputed")
    assert silhouette(cdist(x, x), labels, counts.astype(float)) == pytest.approx(expected, rel=1e-9)


def test_each_class_gets_its_true_number_of_clusters():
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], [300, 400])
    group = np.concatenate([rng.integers(3, size=300), 3 + rng.integers(5, size=400)])
    x = 12 * rng.normal(size=(8, 4))[group] + rng.normal(size=(700, 4))
    failing = group == 6
    losses = np.where(failing, 2.0, 0.5) + 0.1 * rng.random(700)
    p = Predictions.from_arrays(
        x, losses=losses, labels=labels, predictions=labels, task=Classification(("a", "b"))
    )
    found = George(n_slices=1, n_components=4).fit(p)
    assert found.slices_.parameters["log_shares"].shape == (1, 5)
    np.testing.assert_allclose(found.slices_.weights[0], failing, atol=1e-6)


def test_a_planted_slice_is_a_subclass():
    found = 0
    for seed in range(5):
        p, planted = planted_predictions(4.0, 2000, seed)
        weights = George().fit(p).slices_.weights
        found += bool((weights @ planted > 0.7 * weights.sum(axis=1)).any())
    assert found >= 4


def test_a_label_may_have_fewer_examples_than_components():
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [40, 100, 100])
    p = Predictions.from_arrays(
        random.normal(size=(240, 300)), labels=labels, losses=random.exponential(size=240)
    )
    slices = George(n_components=64).fit(p).slices_
    assert_array_equal(apply(slices, p).T, slices.weights)
