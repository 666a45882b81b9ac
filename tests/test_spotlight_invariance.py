"""What must not matter: the order of rows, and where the embedding's origin, axes and unit are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from weakspot import Predictions, Spotlight

N, D, K = 800, 12, 2


def data() -> tuple[np.ndarray, np.ndarray]:
    """Clusters of unlike spread, one of them hard, and losses that rise along one axis."""
    rng = np.random.default_rng(3)
    kind = rng.integers(0, 6, N)
    x = rng.normal(size=(6, D))[kind] * 3 + rng.normal(size=(N, D)) * rng.uniform(0.5, 1.5, 6)[kind, None]
    y = rng.exponential(0.3, N) + 1.5 * (kind == 4) * (rng.random(N) < 0.7) + 0.1 * np.maximum(x[:, 0], 0)
    return x.astype(np.float32), y.astype(np.float32)


def turned(x: np.ndarray) -> np.ndarray:
    axes, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(D, D)))
    return (x @ axes).astype(np.float32)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "shift": lambda x: x + np.float32(30),
    "rotation": turned,
    "thousandth": lambda x: x * np.float32(1e-3),
    "thousandfold": lambda x: x * np.float32(1e3),
}


def fitted(x: np.ndarray, y: np.ndarray, **settings: object) -> Spotlight:
    return Spotlight(n_slices=K, min_size=0.04, **settings).fit(Predictions.from_arrays(x, y))


def same(ours: Spotlight, theirs: Spotlight, order: np.ndarray) -> None:
    """The first spotlight's loss is the objective itself, and neighbouring tops differ by 1e-5 at most here.
    Weights, and what the second finds among the losses they leave, are known less well.
    """
    for j, tolerance in enumerate((1e-5, 1e-3)):
        inside = [spotlight.slices_.statistics[j]["loss_inside"] for spotlight in (ours, theirs)]
        assert inside[0] == pytest.approx(inside[1], rel=tolerance)
        assert np.abs(ours.slices_.weights[j] - theirs.slices_.weights[j][order]).max() < 0.02


@pytest.fixture(scope="module")
def reference() -> Spotlight:
    return fitted(*data())


@pytest.mark.parametrize("name", CHANGES)
def test_embeddings_may_be_moved_turned_and_scaled(reference: Spotlight, name: str) -> None:
    x, y = data()
    same(fitted(CHANGES[name](x), y), reference, np.arange(N))


def test_rows_may_be_permuted(reference: Spotlight) -> None:
    x, y = data()
    order = np.random.default_rng(5).permutation(N)
    same(fitted(x[order], y[order]), reference, order)


def test_published_trajectories_bear_permutation_and_rotation() -> None:
    """The published start is the raw origin in raw units, so shifts and scales do change it."""
    x, y = data()
    order = np.random.default_rng(5).permutation(N)
    base = fitted(x, y, search="published", steps=300).history_[0]
    permuted = fitted(x[order], y[order], search="published", steps=300).history_[0]
    for name in ("objective", "size"):
        np.testing.assert_allclose(permuted[name][:200], base[name][:200], rtol=1e-4)


def test_the_same_seed_gives_the_same_slices(reference: Spotlight) -> None:
    again = fitted(*data())
    np.testing.assert_array_equal(again.slices_.weights, reference.slices_.weights)


def test_threads_change_nothing(reference: Spotlight) -> None:
    same(fitted(*data(), n_jobs=2), reference, np.arange(N))
