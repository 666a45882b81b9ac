"""The minimiser on functions whose minimum is known, and lies on a kink."""

from __future__ import annotations

import numpy as np
import pytest

from weakspot.methods.spotlight.bfgs import minimised


def test_a_minimum_where_the_function_is_not_smooth() -> None:
    """Lewis and Overton's kind of test: steep walls |A x|₁ along a curved floor."""
    rng = np.random.default_rng(0)
    a = 4 * rng.normal(size=(4, 10))
    target = rng.normal(size=10)

    def function(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        walls, away = x @ a.T, x - target
        return np.abs(walls).sum(axis=1) + (away**2).sum(axis=1), np.sign(walls) @ a + 2 * away

    # On the floor (the kernel of A) the minimum is the target's projection, if the walls are steep enough.
    floor = np.linalg.svd(a)[2][4:]
    projected = floor.T @ (floor @ target)
    multipliers = np.linalg.lstsq(a.T, 2 * (target - projected), rcond=None)[0]
    assert np.abs(multipliers).max() < 1
    (descent,) = minimised(function, np.ones((1, 10)), 1e-12)
    np.testing.assert_allclose(descent.end, projected, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_a_smooth_minimum_from_several_starts(scale: float) -> None:
    curvature = scale * np.geomspace(1, 1e4, 12)

    def function(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return 0.5 * (x - 1) ** 2 @ curvature + scale, curvature * (x - 1)

    starts = np.stack([np.zeros(12), np.ones(12), np.arange(12.0)])
    descents = minimised(function, starts, 1e-12)
    for descent in descents:
        np.testing.assert_allclose(descent.end, np.ones(12), atol=1e-4)
        assert (np.diff(descent.values) <= 0).all()
        assert len(descent.lengths) == len(descent.values)
    assert len(descents[1].values) == 0  # it started at the minimum


def test_descents_do_not_see_each_other() -> None:
    def function(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.abs(x).sum(axis=1) + (x**2).sum(axis=1), np.sign(x) + 2 * x

    starts = np.random.default_rng(0).normal(size=(5, 4))
    together = minimised(function, starts, 1e-9)
    for start, descent in zip(starts, together, strict=True):
        np.testing.assert_array_equal(minimised(function, start[None], 1e-9)[0].end, descent.end)
