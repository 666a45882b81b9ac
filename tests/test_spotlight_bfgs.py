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

    def function(x: np.ndarray) -> tuple[float, np.ndarray]:
        walls, away = a @ x, x - target
        return float(np.abs(walls).sum() + away @ away), a.T @ np.sign(walls) + 2 * away

    # On the floor (the kernel of A) the minimum is the target's projection, if the walls are steep enough.
    floor = np.linalg.svd(a)[2][4:]
    projected = floor.T @ (floor @ target)
    multipliers = np.linalg.lstsq(a.T, 2 * (target - projected), rcond=None)[0]
    assert np.abs(multipliers).max() < 1
    np.testing.assert_allclose(minimised(function, np.ones(10), 1e-12), projected, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_a_smooth_minimum(scale: float) -> None:
    curvature = scale * np.geomspace(1, 1e4, 12)

    def function(x: np.ndarray) -> tuple[float, np.ndarray]:
        return float(0.5 * curvature @ (x - 1) ** 2 + scale), curvature * (x - 1)

    np.testing.assert_allclose(minimised(function, np.zeros(12), 1e-12), np.ones(12), atol=1e-4)


def test_a_start_at_the_minimum_stays() -> None:
    def function(x: np.ndarray) -> tuple[float, np.ndarray]:
        return float(x @ x), 2 * x

    np.testing.assert_array_equal(minimised(function, np.zeros(3), 1e-12), np.zeros(3))
