"""The direction along which confidence runs: what is left of it, and what a scan finds that it had hidden."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit
from sklearn.linear_model import LinearRegression

from weakspot import Predictions
from weakspot.methods.scan import Scan
from weakspot.methods.scan.confidence import shorten_confidence
from weakspot.tasks import Classification


def examples(n=400, q=6, noise=0.0, seed=0):
    """Reduced examples, and residuals whose log odds are a linear function of them but for some noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, q)) * np.arange(1, q + 1)
    log_odds = x @ rng.normal(size=q) / q + noise * rng.normal(size=n)
    return x, expit(-np.clip(log_odds, -6, 6))


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_it_is_what_scikit_learn_s_regression_explains_times_its_adjusted_r2(noise):
    x, r = examples(noise=noise)
    t = np.log((1 - r) / r)
    fitted = LinearRegression().fit(x, t)
    n, q = x.shape
    adjusted = 1 - (1 - fitted.score(x, t)) * (n - 1) / (n - q - 1)
    read = fitted.predict(x) - t.mean()
    expected = x - 0.5 * adjusted * np.outer(read, LinearRegression().fit(read[:, None], x).coef_[:, 0])
    shorten_confidence(x, r, np.ones(n), 0.5)
    assert_allclose(x, expected, atol=1e-6)


def test_all_of_a_linear_confidence_goes_where_all_is_asked_for():
    x, r = examples()
    before = x.copy()
    t = np.log((1 - r) / r)
    shorten_confidence(x, r, np.ones(len(x)), 1.0)
    assert abs(np.corrcoef(x.T, t)[-1, :-1]).max() < 1e-4
    assert np.linalg.matrix_rank(x - x.mean(axis=0), tol=1e-3) == before.shape[1] - 1
    assert_allclose(x.mean(axis=0), before.mean(axis=0), atol=1e-9)


@pytest.mark.parametrize(
    ("n", "q", "at_most"),
    [(400, 6, 1e-3), (60, 50, 0.05), (10, 20, 0.0)],  # of the last there are too few for a regression
)
def test_an_embedding_that_says_nothing_of_the_confidence_stays_nearly_as_it_is(n, q, at_most):
    rng = np.random.default_rng(1)
    before, lost = rng.normal(size=(n, q)), []
    for _ in range(20):
        x = before.copy()
        shorten_confidence(x, rng.random(n), np.ones(n), 0.5)
        lost.append(((x - before) ** 2).sum() / (before**2).sum())
    assert np.mean(lost) <= at_most


def test_counts_are_copies_and_constants_change_nothing():
    x, r = examples(n=120, noise=0.5)
    x[:, 2] = 7.0  # a dead unit
    counts = np.random.default_rng(2).integers(1, 4, len(x)).astype(float)
    copies = np.repeat(np.arange(len(x)), counts.astype(int))
    counted, copied = x.copy(), x[copies]
    shorten_confidence(counted, r, counts, 0.5)
    shorten_confidence(copied, r[copies], np.ones(len(copies)), 0.5)
    assert_allclose(counted[copies], copied, atol=1e-9)
    assert_allclose(counted[:, 2], 7.0)
    for still in (np.full(len(x), 0.3), np.zeros(len(x))):
        same = x.copy()
        shorten_confidence(same, still, counts, 0.5)
        assert_allclose(same, x, atol=1e-9)


def test_it_turns_with_the_embedding():
    x, r = examples(noise=0.5)
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(x.shape[1],) * 2))[0]
    turned = x @ rotation
    shorten_confidence(x, r, np.ones(len(x)), 0.5)
    shorten_confidence(turned, r, np.ones(len(x)), 0.5)
    assert_allclose(turned, x @ rotation, atol=1e-8)


def planted_behind_confidence(seed):
    """A last layer: one coordinate is how sure the model is, and a group that it is less sure of lies aside."""
    rng = np.random.default_rng(seed)
    n = 1200
    planted = np.arange(n) < 100
    sure = rng.normal(2.0, 1.5, n) - planted
    x = np.column_stack([8 * sure, rng.normal(size=(n, 7)) + 2.5 * planted[:, None] * np.eye(7)[0]])
    order = rng.permutation(n)
    p = Predictions.from_arrays(
        x[order],
        labels=np.zeros(n, dtype=np.int64),
        outputs=np.column_stack([sure, np.zeros(n)])[order],
        task=Classification(("a", "b")),
    )
    return p, planted[order]


def test_a_group_is_found_that_lies_across_the_confidence():
    """Mistakes of all kinds are nearest neighbours there; with the direction shortened it is the group that is."""

    def purity(p, planted, share):
        weights = Scan(draws=0, confidence_removed=share).fit(p).slices_.weights
        return max(planted[np.argsort(-w)[:20]].mean() for w in weights)

    sets = [planted_behind_confidence(seed) for seed in range(10)]
    kept, removed = (np.mean([purity(*one, share) for one in sets]) for share in (0.0, 0.5))
    assert removed > kept + 0.1
