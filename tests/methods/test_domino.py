"""Domino's mixture: scikit-learn's if labels and predictions have no weight, and a planted slice if they do."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose
from sklearn.mixture import GaussianMixture

from weakspot.evaluation.synthetic import planted_predictions
from weakspot.methods.domino import Domino
from weakspot.methods.domino.mixture import fit_mixture


def test_without_weight_on_labels_and_predictions_it_is_a_gaussian_mixture():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(centre, 0.7, (80, 3)) for centre in (0, 2, 4)])
    start = rng.dirichlet(np.ones(3) / 3, len(x))
    y = np.eye(2)[rng.integers(0, 2, len(x))]
    ours = fit_mixture(x, y, y, start, np.ones(len(x)), 0.0, 0.0, 200)
    share = start.sum(axis=0)
    means = start.T @ x / share[:, None]
    variances = start.T @ x**2 / share[:, None] - means**2 + 1e-6
    theirs = GaussianMixture(
        3, covariance_type="diag", weights_init=share / share.sum(), means_init=means, precisions_init=1 / variances,
        max_iter=200,
    ).fit(x)  # fmt: skip
    assert_allclose(np.exp(ours.log_shares), theirs.weights_, rtol=1e-6)
    assert_allclose(ours.means, theirs.means_, rtol=1e-6)
    assert_allclose(ours.variances, theirs.covariances_, rtol=1e-4)


def test_a_planted_slice_is_a_component():
    found = 0
    for seed in range(5):
        p, planted = planted_predictions(5.0, 2000, seed)  # the slice is always misclassified
        weights = Domino().fit(p).published_scores(p)
        top = np.argsort(-weights, axis=0, kind="stable")[:25]
        found += bool((planted[top].mean(axis=0) > 0.8).any())
    assert found >= 4
