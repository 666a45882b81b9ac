"""Agreement with the published implementation on its own outputs (tests/fixtures/spotlight_*.npz).

The trajectory is chaotic late (1e-8 of input noise moves the end by up to 3 %), so each spotlight starts
after the *golden* weights of the one before, the first 200 objectives must agree, and the end only roughly.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from paths import FIXTURES
from weakspot import Predictions, Spotlight

RUNS = [("small", 0), ("small", 1), ("small", 2), ("barrier10", 0), ("barrier10", 1), ("flip", 0)]


def golden(name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    with np.load(FIXTURES / f"spotlight_{name}.npz") as file:
        arrays = dict(file)
    return arrays, json.loads(str(arrays.pop("settings")))


def published(settings: dict[str, Any], **more: Any) -> Spotlight:
    return Spotlight(
        n_slices=1,
        min_size=settings["min_weight"],
        steps=settings["steps"],
        learning_rate=settings["lr"],
        patience=settings["patience"],
        barrier_scale=settings.get("barrier_scale", 1.0),
        flip=settings.get("flip", False),
        **{"search": "published"} | more,
    )


@pytest.mark.parametrize(("name", "j"), RUNS)
def test_published_trajectory(name: str, j: int) -> None:
    arrays, settings = golden(f"spherical_{name}")
    past = [arrays[f"spotlight{i}_unnormalized_weights"] for i in range(j)] or None
    predictions = Predictions.from_arrays(arrays["embeddings"], arrays["losses"])
    spotlight = published(settings, past=past).fit(predictions)
    history, expected = spotlight.history_[0], arrays[f"spotlight{j}_objective"]
    assert len(history["objective"]) == settings["steps"]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(history["objective"][:200], expected[:200], atol=1e-5 * scale)
    np.testing.assert_allclose(history["size"][:200], arrays[f"spotlight{j}_total_weight"][:200], rtol=1e-4)
    np.testing.assert_array_equal(history["learning_rate"][:200], arrays[f"spotlight{j}_lr"][:200])
    assert history["objective"][-1] == pytest.approx(expected[-1], abs=0.03 * scale)
    top = settings["min_weight"]
    ours = np.argsort(-spotlight.slices_.weights[0])[:top]
    theirs = np.argsort(-arrays[f"spotlight{j}_unnormalized_weights"])[:top]
    assert len(np.intersect1d(ours, theirs)) >= 0.9 * top


@pytest.mark.parametrize("name", ["small", "barrier10", "flip"])
def test_multistart_does_not_lose_to_published_at_equal_size(name: str) -> None:
    arrays, settings = golden(f"spherical_{name}")
    predictions = Predictions.from_arrays(arrays["embeddings"], arrays["losses"])
    ours = published(settings, search="multistart").fit(predictions)
    theirs = published(settings).fit(predictions)
    squares = ((arrays["embeddings"] - theirs.centers_[0]) ** 2).sum(axis=1)
    order = np.sort(squares)
    k = next(
        k
        for k in range(settings["min_weight"] + 1, len(order))
        if (k - settings["min_weight"]) * order[k] >= order[:k].sum()
    )
    w = np.maximum(0, 1 - squares * (k - settings["min_weight"]) / order[:k].sum())
    assert w.sum() == pytest.approx(settings["min_weight"])
    sign = -1 if settings.get("flip") else 1
    inside = ours.slices_.statistics[0].loss_inside
    assert sign * inside >= sign * (w @ arrays["losses"]) / w.sum() - 1e-6
    assert ours.slices_.statistics[0].size >= settings["min_weight"]


def test_published_trajectory_with_full_precision() -> None:
    """Noise precedes each orthogonal projection, so the end is compared loosely."""
    arrays, settings = golden("full_precision")
    predictions = Predictions.from_arrays(arrays["embeddings"], arrays["losses"])
    spotlight = published(settings, precision="full").fit(predictions)
    history, expected = spotlight.history_[0], arrays["spotlight0_objective"]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(history["objective"][:200], expected[:200], atol=1e-5 * scale)
    assert history["objective"][-1] == pytest.approx(expected[-1], abs=0.1 * scale)
    weights = spotlight.slices_.weights[0]
    assert np.corrcoef(weights, arrays["spotlight0_unnormalized_weights"])[0, 1] > 0.95
    matrix = spotlight.precisions_[0]
    np.testing.assert_allclose(matrix, matrix.T)
    assert np.linalg.eigvalsh(matrix).min() > 0
