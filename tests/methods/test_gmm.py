"""The Gaussian mixture as a method: equal to scikit-learn's, and a planted slice among its components."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose
from sklearn.mixture import GaussianMixture

from weakspot import Predictions
from weakspot.evaluation.synthetic import planted_predictions
from weakspot.methods.gmm import Gmm


def test_the_mixture_equals_scikit_learns():
    """Both get the rows in the same order, since the k-means start depends on it."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(centre, 0.7, (80, 3)) for centre in (0, 2, 4)])
    losses = np.arange(240.0)[::-1] / 240  # the method sorts its rows by loss
    ours = Gmm(n_slices=9, n_components=5, min_size=1).fit(Predictions.from_arrays(x, losses=losses))
    theirs = GaussianMixture(5, covariance_type="diag", random_state=0).fit(x[::-1] - x.mean(axis=0))
    new = rng.normal(2, 3, (50, 3))
    posterior = theirs.predict_proba(new - x.mean(axis=0))
    responsibility = theirs.predict_proba(x - x.mean(axis=0))
    mean = responsibility.T @ losses / responsibility.sum(axis=0)
    kept = [j for j in np.argsort(-mean) if mean[j] > losses.mean()]
    assert len(kept) >= 2
    assert_allclose(ours.membership(Predictions.from_arrays(new)), posterior[:, kept], atol=1e-6)
    assert_allclose(ours.slices_.weights.T, responsibility[:, kept], atol=1e-6)


def test_a_planted_slice_is_a_component():
    found = 0
    for seed in range(5):
        p, planted = planted_predictions(4.0, 2000, seed)
        weights = Gmm(n_components=20).fit(p).slices_.weights
        found += bool((weights @ planted > 0.7 * weights.sum(axis=1)).any())
    assert found >= 4
