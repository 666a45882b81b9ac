"""The minimiser on functions whose minimum is known, smooth or at a kink."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from weakspot.methods.spotlight.optim.bfgs import Descent, advance, descent

Function = Callable[[np.ndarray], tuple[float, np.ndarray]]


def minimised(function: Function, start: np.ndarray, least_gain: float) -> Descent:
    found = descent(start, least_gain, first_move=0.1)
    while advance(*function(found.trial), found):
        pass
    return found


def test_a_minimum_at_a_kink() -> None:
    """A test in the manner of Lewis and Overton: steep walls |A x|₁ along a curved floor."""
    rng = np.random.default_rng(0)
    a = 4 * rng.normal(size=(4, 10))
    target = rng.normal(size=10)

    def function(x: np.ndarray) -> tuple[float, np.ndarray]:
        walls, away = a @ x, x - target
        return float(np.abs(walls).sum() + (away**2).sum()), a.T @ np.sign(walls) + 2 * away

    # On the floor (the kernel of A) the minimum is the target's projection, if the walls are steep enough.
    floor = np.linalg.svd(a)[2][4:]
    projected = floor.T @ (floor @ target)
    multipliers = np.linalg.lstsq(a.T, 2 * (target - projected), rcond=None)[0]
    assert np.abs(multipliers).max() < 1
    np.testing.assert_allclose(minimised(function, np.ones(10), 1e-12).point, projected, atol=1e-5)


@pytest.mark.parametrize("start", [np.zeros(12), np.ones(12), np.arange(12.0)], ids=["0", "there", "far"])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_a_smooth_minimum(scale: float, start: np.ndarray) -> None:
    curvature = scale * np.geomspace(1, 1e4, 12)

    def function(x: np.ndarray) -> tuple[float, np.ndarray]:
        return float(0.5 * (x - 1) ** 2 @ curvature + scale), curvature * (x - 1)

    found = minimised(function, start, 1e-12)
    steps = int(found.state["steps"])
    np.testing.assert_allclose(found.point, np.ones(12), atol=1e-4)
    assert found.values[0] == function(start)[0]
    assert (np.diff(found.values[: steps + 1]) <= 0).all()
    assert (found.lengths[1 : steps + 1] > 0).all()
    assert (steps == 0) == (start == 1).all()
