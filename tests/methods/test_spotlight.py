"""Spotlight as users call it: what it finds, what it refuses, and how it behaves as an estimator."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone

from weakspot import Predictions, Slices, Spotlight
from weakspot.methods.spotlight import membership


def planted(n: int = 600, d: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings, losses, and the rows of two small distant clusters, one of very high and one of high losses."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)).astype(np.float32) * 3
    y = rng.exponential(0.2, n).astype(np.float32)
    worst, bad = rng.choice(n, (2, n // 20), replace=False)
    for rows, extra in ((worst, 3), (bad, 2)):
        x[rows] = rng.normal(size=d) * 6 + rng.normal(size=(len(rows), d)) * 0.5
        y[rows] += extra
    return x, y, worst, bad


def test_finds_the_planted_clusters_one_after_the_other() -> None:
    x, y, worst, bad = planted()
    spotlight = Spotlight(n_slices=2, min_size=20).fit(Predictions.from_arrays(x, y))
    w = spotlight.slices_.weights
    assert np.isin(np.argsort(-w[0])[:20], worst).all()
    assert np.isin(np.argsort(-w[1])[:20], bad).all()
    assert [s.size for s in spotlight.slices_.statistics] == pytest.approx([20, 20])
    assert w.min() >= 0
    assert w.max() <= 1


def test_flip_finds_the_regions_of_lowest_loss() -> None:
    x, y, worst, bad = planted()
    flipped = Spotlight(n_slices=2, min_size=20, flip=True).fit(Predictions.from_arrays(x, 3 - y))
    assert np.isin(np.argsort(-flipped.slices_.weights[0])[:20], worst).all()
    assert np.isin(np.argsort(-flipped.slices_.weights[1])[:20], bad).all()


def test_membership_repeats_the_weights_and_survives_saving(tmp_path: Path) -> None:
    x, y, *_ = planted()
    p = Predictions.from_arrays(x, y)
    spotlight = Spotlight(n_slices=2).fit(p)
    np.testing.assert_array_equal(spotlight.membership(p).T, spotlight.slices_.weights)
    loaded = Slices.load(spotlight.slices_.save(tmp_path / "slices"))
    assert loaded.equals(spotlight.slices_)
    np.testing.assert_array_equal(membership(loaded, x), spotlight.membership(p))
    with pytest.raises(ValueError, match="8 dimensions"):
        membership(loaded, x[:, :5])


def test_sizes_as_counts_and_shares() -> None:
    x, y, *_ = planted()
    p = Predictions.from_arrays(x, y, counts=np.full(len(x), 2.0))
    by_count = Spotlight(n_slices=1, min_size=60).fit(p)
    by_share = Spotlight(n_slices=1, min_size=0.05).fit(p)
    np.testing.assert_array_equal(by_count.slices_.weights, by_share.slices_.weights)
    assert 2 * by_count.slices_.weights.sum() == pytest.approx(60)


def test_past_continues_a_sequence() -> None:
    x, y, *_ = planted()
    p = Predictions.from_arrays(x, y)
    both = Spotlight(n_slices=2).fit(p)
    first = Spotlight(n_slices=1).fit(p)
    second = Spotlight(n_slices=1, past=first.slices_).fit(p)
    np.testing.assert_array_equal(second.slices_.weights[0], both.slices_.weights[1])


def test_counts_stand_for_repeated_rows() -> None:
    x, y, *_ = planted(200)
    counts = np.random.default_rng(0).integers(1, 4, len(x))
    repeated = np.repeat(np.arange(len(x)), counts)
    settings = {"n_slices": 1, "min_size": 30, "search": "published", "steps": 300}
    weighted = Spotlight(**settings).fit(Predictions.from_arrays(x, y, counts=counts))
    plain = Spotlight(**settings).fit(Predictions.from_arrays(x[repeated], y[repeated]))
    # The sums differ only by rounding and by the mean on which each fit is centred.
    for name, tolerance in (("objective", 1e-6), ("size", 1e-3)):
        np.testing.assert_allclose(
            weighted.history_[0][name], plain.history_[0][name], rtol=0, atol=tolerance
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_size": 600}, "less than all 600"),
        ({"min_size": 1.5}, "less than all 600"),
        ({"min_size": 0}, "more than 0"),
        ({"search": "grid"}, "choose multistart or published"),
        ({"precision": "cubic"}, "choose spherical or diagonal or full"),
        ({"n_slices": 0}, "whole number"),
        ({"steps": 1.5}, "whole number"),
        ({"learning_rate": -1}, "positive"),
        ({"factor": 2}, "between 0 and 1"),
        ({"past": np.ones((1, 3))}, "there are 600 examples"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict, message: str) -> None:
    x, y, *_ = planted()
    with pytest.raises(ValueError, match=message):
        Spotlight(**settings).fit(Predictions.from_arrays(x, y))


def test_predictions_without_losses_are_refused() -> None:
    with pytest.raises(ValueError, match="needs a loss"):
        Spotlight().fit(Predictions.from_arrays(np.eye(3)))


def test_spotlight_is_a_scikit_learn_estimator() -> None:
    spotlight = Spotlight(n_slices=3, flip=True)
    assert clone(spotlight).get_params() == spotlight.get_params()
    assert "flip=True" in repr(spotlight)
    with pytest.raises(ValueError, match="not fitted"):
        spotlight.membership(Predictions.from_arrays(np.eye(3)))


def test_progress_is_reported() -> None:
    x, y, *_ = planted(100)
    told: list[tuple] = []
    Spotlight(n_slices=2, steps=50).fit(
        Predictions.from_arrays(x, y), callback=lambda *news: told.append(news)
    )
    stages, done, totals = zip(*told, strict=True)
    assert {stage.split(":")[0] for stage in stages} == {"spotlight 1 of 2", "spotlight 2 of 2"}
    assert all("objective" in stage and "size" in stage for stage in stages)
    assert 0 < sum("learning rate" in stage for stage in stages) < len(stages)  # only in Adam's runs
    assert list(done) == sorted(done)
    assert len(set(totals)) == 1
    assert max(done) <= totals[0]


def test_entropy_penalties_make_spotlights_purer() -> None:
    """Two labels share a hard region; a penalty on their entropy leaves one of them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3)).astype(np.float32)
    hard = np.arange(400) < 80
    labels = (np.arange(400) % 2).astype(np.int64)
    x[hard] += 5
    x[hard & (labels == 1), 0] += 2
    y = np.where(hard, 2, 0.2) + rng.random(400) * 0.1
    p = Predictions.from_arrays(x, y, labels=labels, predictions=1 - labels)

    def purity(**prices: float) -> float:
        w = Spotlight(n_slices=1, min_size=25, **prices).fit(p).slices_.weights[0]
        shares = np.array([w[labels == k].sum() for k in range(2)]) / w.sum()
        return float(shares.max())

    mixed = purity()
    assert purity(label_entropy=2.0) > mixed + 0.1
    assert purity(prediction_entropy=2.0) > mixed + 0.1
    with pytest.raises(ValueError, match="label_entropy needs one class per example as its label"):
        Spotlight(label_entropy=1).fit(Predictions.from_arrays(x, y))


def test_compiled_code_is_cached_across_processes(tmp_path: Path) -> None:
    """Nobody waits for the compiler twice; if the package's folder is read-only, the cache is in the user's folder."""
    script = (
        "import time, numpy as np; from weakspot.methods.spotlight.optim.lazy import LazyOptimizer, adam_steps;"
        "from weakspot.methods.spotlight.objective import Problem;"
        "from weakspot.methods.spotlight.optim.optimizer import AdamSchedule;"
        "x = np.eye(8, dtype=np.float32); given = Problem(np.arange(8.0), np.ones(8), 2.0, 1.0);"
        "schedule = AdamSchedule(np.geomspace(6, 0.1, 20), 1e-2, 10, 0.5);"
        "LazyOptimizer(x).adam(given, schedule, np.zeros((1, 8)), np.zeros((1, 1)));"
        "print(sum(adam_steps.stats.cache_hits.values()), sum(adam_steps.stats.cache_misses.values()))"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    told = [
        subprocess.run(
            [sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True
        )
        for _ in range(2)
    ]
    assert [run.stdout.split() for run in told] == [["0", "1"], ["1", "0"]]


def test_a_callers_autocast_does_not_reach_the_search() -> None:
    rng = np.random.default_rng(0)
    p = Predictions.from_arrays(rng.normal(size=(300, 6)).astype(np.float32), losses=rng.random(300))
    settings = {"n_slices": 1, "min_size": 20, "precision": "diagonal"}
    plain = Spotlight(**settings).fit(p)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = Spotlight(**settings).fit(p)
    np.testing.assert_array_equal(plain.centers_, cast.centers_)
