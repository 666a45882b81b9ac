"""PlaneSpot: scikit-learn's full mixtures chosen by BIC, a planted slice, and membership without confidences."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import MinMaxScaler

from weakspot import Predictions
from weakspot.evaluation.synthetic import planted_predictions
from weakspot.methods.planespot import PlaneSpot
from weakspot.tasks import Classification

TASK = Classification(("cat", "dog"))


def five_blobs(n: int = 500, seed: int = 0) -> tuple[Predictions, np.ndarray]:
    """Blobs in six dimensions that differ in two of them; the model is unsure on the last blob."""
    rng = np.random.default_rng(seed)
    blob = np.sort(rng.integers(5, size=n))
    x = 0.1 * rng.normal(size=(n, 6))
    x[:, :2] += np.array([(0, 0), (0, 2), (3, 0), (3, 2), (6, 1)])[blob]
    labels = rng.integers(2, size=n)
    confidence = np.where(blob == 4, 0.3, 0.9) + 0.09 * rng.random(n)
    confidence = np.sort(confidence)[::-1]  # sorts rows by loss, as the method does
    outputs = np.zeros((n, 2))
    outputs[np.arange(n), labels] = np.log(confidence / (1 - confidence))
    return Predictions.from_arrays(x, labels=labels, outputs=outputs, task=TASK), confidence


def test_the_mixture_is_scikit_learns_of_lowest_bic():
    p, confidence = five_blobs()
    ours = PlaneSpot(n_slices=3, max_components=8).fit(p)
    plane = MinMaxScaler().fit_transform(PCA(2).fit_transform(p.embeddings))
    x = np.c_[plane, 0.025 * confidence]
    mixtures = [GaussianMixture(k, random_state=0).fit(x) for k in range(3, 9)]
    best = min(mixtures, key=lambda one: one.bic(x))
    of, posterior = best.predict(x), best.predict_proba(x)
    errors = np.bincount(of, weights=1 - confidence)
    rate = errors / np.bincount(of)
    kept = [j for j in np.argsort(-errors * rate) if rate[j] > (1 - confidence).mean()][:3]
    assert len(ours.slices_.parameters["log_shares"]) == best.n_components == 5
    assert len(kept) == len(ours.slices_) >= 1
    assert_allclose(ours.slices_.weights.T, posterior[:, kept], atol=1e-3)
    assert_allclose(ours.published_scores(p), ours.slices_.weights.T, atol=1e-12)


def test_membership_depends_on_the_embedding_alone():
    """It comes from the marginal over the first coordinates, without the last one, the confidence."""
    p, _ = five_blobs()
    unsure = Predictions.from_arrays(p.embeddings, labels=p.labels, outputs=-p.outputs, task=TASK)
    method = PlaneSpot(n_slices=3, max_components=8, weight=1.0).fit(p)
    assert_allclose(method.membership(unsure), method.membership(p), atol=0)
    assert np.abs(method.published_scores(unsure) - method.published_scores(p)).max() > 0.1


def test_a_planted_slice_is_a_component():
    """The slice lies far from all other examples, so that two dimensions show it."""
    found = 0
    for seed in range(3):
        p, planted = planted_predictions(4.0, 1000, seed)
        x = p.embeddings.copy()
        x[planted, 0] += 30
        moved = Predictions.from_arrays(x, losses=p.losses, labels=p.labels, task=p.task)
        weights = PlaneSpot(max_components=10).fit(moved).slices_.weights
        found += bool((weights @ planted > 0.7 * weights.sum(axis=1)).any())
    assert found == 3


def test_fewer_components_than_slices_are_refused():
    with pytest.raises(ValueError, match="max_components=2 must be at least n_slices=5"):
        PlaneSpot(max_components=2).check(100, TASK)
