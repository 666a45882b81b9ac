"""Ridge regression on residuals: against the normal equations, and on a planted half-space."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from weakspot import Predictions
from weakspot.methods.multiaccuracy import Multiaccuracy


def sided(n: int, seed: int) -> tuple[Predictions, np.ndarray]:
    """Losses are high where the embedding is far along one direction."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5)) + 100
    planted = x @ [1, -2, 0, 0, 1] > np.quantile(x @ [1, -2, 0, 0, 1], 0.9)
    return Predictions.from_arrays(x, losses=rng.exponential(size=n) + 2 * planted), planted


def test_scores_follow_from_the_normal_equations():
    p, _ = sided(400, 0)
    fitted = Multiaccuracy(alpha=3.0, share=0.25).fit(p)
    away = p.embeddings - p.embeddings.mean(axis=0)
    scale = np.sqrt((away**2).sum(axis=1).mean())
    x, residual = away / scale, np.argsort(np.argsort(p.losses)) / 399
    direction = np.linalg.solve(x.T @ x + 3 * np.eye(5), x.T @ (residual - residual.mean()))
    scores = x @ direction
    ranked = np.sort(scores)[::-1]
    assert_allclose(fitted.published_scores(p)[:, 0], scores - (ranked[99] + ranked[100]) / 2, atol=1e-12)
    assert_array_equal(fitted.slices_.weights[0], scores >= ranked[99])
    assert_array_equal(fitted.membership(p)[:, 0], scores >= ranked[99])


def test_a_planted_half_space_is_found():
    for seed in range(5):
        p, planted = sided(2000, seed)
        weights = Multiaccuracy().fit(p).slices_.weights
        assert weights.shape == (1, 2000)
        assert weights[0].sum() == 200
        assert weights[0] @ planted > 150
