"""Principal components against scikit-learn's, for tall and wide embeddings."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.decomposition import PCA

from weakspot.methods.principal_components import fit_principal_components


@pytest.mark.parametrize("shape", [(90, 12), (12, 90), (30, 30)])
def test_components_equal_scikit_learns(shape: tuple[int, int]):
    """A count stands for that many copies of the row."""
    n, d = shape
    random = np.random.default_rng(0)
    x = random.normal(size=(n, d)) * (1 + np.arange(d)) ** -0.5 + 5
    counts = random.integers(1, 4, n)
    found = fit_principal_components(x, counts.astype(np.float64), 6, seed=0)
    pca = PCA(6, svd_solver="full").fit(np.repeat(x, counts, axis=0))
    assert_allclose(found.centre, pca.mean_, rtol=1e-12)
    scale = np.linalg.norm(found.components, axis=0)
    assert_allclose(abs((found.components / scale * pca.components_.T).sum(axis=0)), 1, rtol=1e-9)
    z = found.transform(x)
    assert_allclose(np.average((z**2).sum(axis=1), weights=counts), 1, rtol=1e-9)


def test_wide_embeddings_of_low_rank():
    """Directions without any variance become zeros, never NaN."""
    random = np.random.default_rng(0)
    x = random.normal(size=(20, 2)) @ random.normal(size=(2, 50))
    z = fit_principal_components(x, np.ones(20), 8, seed=0).transform(x)
    assert np.isfinite(z).all()
    assert_allclose(np.linalg.norm(z[:, 2:], axis=0), 0, atol=1e-6)
    few = fit_principal_components(x[:3], np.ones(3), 8, seed=0)
    assert few.components.shape == (50, 8)  # the same number as for any other sample of these embeddings
    same = fit_principal_components(np.ones((5, 9)), np.ones(5), 3, seed=0).transform(np.ones((5, 9)))
    assert_allclose(same, 0, atol=1e-9)
    assert np.isfinite(fit_principal_components(np.full((5, 9), 0.1), np.ones(5), 3, seed=0).components).all()
