"""The two-dimensional map against principal components from a plain singular value decomposition."""

from __future__ import annotations

import numpy as np
import pytest

from weakspot.explain import projection as module
from weakspot.explain.projection import projection


def by_svd(x):
    away = x.astype(np.float64) - x.astype(np.float64).mean(axis=0)
    axes = np.linalg.svd(away, full_matrices=False)[2][:2]
    axes *= np.sign(axes[[0, 1], np.abs(axes).argmax(axis=1)])[:, None]
    return away @ axes.T


def stretched(n, d, seed=0):
    """Points with standard deviations 9, 4, then at most 1, along rotated axes."""
    rng = np.random.default_rng(seed)
    turned = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return (rng.normal(size=(n, d)) * np.array([9, 4, *np.linspace(1, 0.1, d - 2)])) @ turned


@pytest.mark.parametrize("shape", [(300, 5), (40, 60), (900, 700)])
@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16])
def test_the_map_is_the_first_two_principal_components(shape, kind):
    x = stretched(*shape).astype(kind)
    found = projection(x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_svd(x), rtol=0, atol=2e-3 * np.abs(found).max())


def test_an_offset_or_another_order_changes_nothing():
    x = stretched(500, 12)
    shuffled = np.random.default_rng(1).permutation(500)
    np.testing.assert_allclose(projection(x + 1e4), projection(x), atol=1e-4)
    np.testing.assert_allclose(projection(x[shuffled]), projection(x)[shuffled], atol=1e-4)


def test_rows_outside_the_sample_are_placed_on_the_same_axes(monkeypatch):
    x = stretched(4000, 8)
    monkeypatch.setattr(module, "_MOST_ROWS", 1000)
    monkeypatch.setattr(module, "_BLOCK", 8 * 37)
    found = projection(x)
    rows = np.sort(np.random.default_rng(0).choice(4000, 1000, replace=False))
    away = x - x[rows].mean(axis=0)
    axes = np.linalg.lstsq(away[rows], by_svd(x[rows]), rcond=None)[0]
    np.testing.assert_allclose(found, away @ axes, atol=1e-3)
    np.testing.assert_array_equal(found, projection(x))


@pytest.mark.parametrize(
    "x",
    [
        np.full((5, 3), 2.5),
        np.ones((1, 4)),
        np.empty((0, 4)),
        np.empty((3, 0)),
        np.full((4, 2), 0.1, np.float32),
    ],
)
def test_constant_embeddings_lie_at_one_point(x):
    assert projection(x).shape == (len(x), 2)
    np.testing.assert_allclose(projection(x), 0, atol=1e-6)


def test_one_dimension_is_a_line():
    x = np.array([[3.0], [1.0], [2.0]])
    np.testing.assert_allclose(projection(x), [[1, 0], [-1, 0], [0, 0]])
