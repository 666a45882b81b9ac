"""Degenerate inputs: a result or a clear error, never NaN."""

from __future__ import annotations

import io
import json
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from report_pages import read
from weakspot import Findings, Predictions, Slices, Spotlight
from weakspot.report.html import render
from weakspot.tracking.console import findings_summary

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype(np.float32)
Y = RNG.exponential(1.0, 60).astype(np.float32)
IDS = np.array([f"row{i}" for i in range(60)])

CASES = {
    "constant losses": (X, np.ones(60)),
    "no losses at all": (X, np.zeros(60)),
    "negative losses": (X, Y - 10),
    "one example that loses": (X, np.eye(60)[7]),
    "every point twice": (np.repeat(X[:30], 2, axis=0), Y),
    "many copies of one point": (np.concatenate([np.tile(X[:1], (40, 1)), X[:20]]), Y),
    "two places": (np.repeat(X[:2], 30, axis=0), Y),
    "a constant coordinate": (np.concatenate([X, np.full((60, 1), 7.0)], axis=1), Y),
    "one dimension": (X[:, :1], Y),
    "far from the origin": (X + np.float32(1e4), Y),
    "tiny": (X * np.float32(1e-6), Y),
    "huge": (X * np.float32(1e6), Y),
    "an outlier": (np.concatenate([X[:59], np.full((1, 4), 1e4)]), Y),
    "huge losses": (X, Y * 1e6),
    "tiny losses": (X, Y * 1e-6),
    "two examples": (X[:2], Y[:2]),
}


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_there_is_a_result(name: str, flip: bool) -> None:
    x, y = CASES[name]
    size = 1 if len(x) == 2 else 10
    spotlight = Spotlight(n_slices=3, min_size=size, flip=flip, steps=300).fit(Predictions.from_arrays(x, y))
    w = spotlight.slices_.weights
    assert np.isfinite(w).all()
    assert ((w >= 0) & (w <= 1)).all()
    assert all(statistics.size >= size for statistics in spotlight.slices_.statistics)
    assert np.isfinite(spotlight.centers_).all()
    assert np.isfinite(spotlight.precisions_).all()
    assert all(np.isfinite(values).all() for history in spotlight.history_ for values in history.values())


@pytest.mark.parametrize("precision", ["diagonal", "full"])
@pytest.mark.parametrize("name", ["constant losses", "two places", "a constant coordinate", "huge losses"])
def test_there_is_a_result_for_every_precision(name: str, precision: str) -> None:
    x, y = CASES[name]
    p = Predictions.from_arrays(x, y)
    spotlight = Spotlight(n_slices=2, min_size=10, precision=precision, steps=60).fit(p)
    assert np.isfinite(spotlight.slices_.weights).all()
    assert all(statistics.size >= 10 for statistics in spotlight.slices_.statistics)


@pytest.mark.parametrize("rows", [1, 5])
def test_embeddings_that_are_all_equal_are_refused(rows: int) -> None:
    p = Predictions.from_arrays(np.full((rows, 3), 2.5), np.arange(rows, dtype=float))
    with pytest.raises(ValueError, match=f"all {rows} embeddings are equal"):
        Spotlight(min_size=0.5).fit(p)


@pytest.mark.parametrize("scale", [1e-300, 1e200])
def test_units_that_cannot_be_squared_are_refused_with_a_remedy(scale: float) -> None:
    """Their squares overflow or vanish, but the embeddings must not be reported as equal."""
    with pytest.raises(ValueError, match=r"divide (the|all) embeddings by [0-9.]+e[+-]?\d+"):
        Spotlight(min_size=10).fit(Predictions(ids=IDS, embeddings=X.astype(np.float64) * scale, losses=Y))


def assert_same(here: Slices, there: Slices, weights: float, scale: float = 1.0) -> None:
    """Compare the loss inside, the top ten examples, and the weights, which are less certain where the loss is flat."""
    losses = [slices.statistics[0].loss_inside for slices in (here, there)]
    assert losses[1] == pytest.approx(scale * losses[0], rel=1e-5)
    np.testing.assert_allclose(there.weights, here.weights, atol=weights)
    heaviest = [set(np.argsort(-slices.weights[0])[:10]) for slices in (here, there)]
    assert heaviest[0] == heaviest[1]


@pytest.mark.parametrize("scale", [1e-100, 1e13])
def test_extreme_units_change_nothing(scale: float) -> None:
    x = X.astype(np.float64)
    here, there = (
        Spotlight(1, 10).fit(Predictions(ids=IDS, embeddings=values, losses=Y)).slices_
        for values in (x, x * scale)
    )
    assert_same(here, there, weights=1e-3)


@pytest.mark.parametrize("scale", [1e307, 1e99, 1e30, 1e-30, 1e-300])
def test_losses_that_would_overflow_are_refused(scale: float) -> None:
    with pytest.raises(ValueError, match=r"divide (the|all) losses by"):
        Spotlight(min_size=10).fit(Predictions(ids=IDS, embeddings=X, losses=Y.astype(np.float64) * scale))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scale", [1e-19, 1e19])
def test_extreme_losses_change_nothing(scale: float, flip: bool) -> None:
    """The published run is not among the starts here: its barrier does not scale with the losses."""
    here, there = (
        Spotlight(1, 10, flip=flip, steps=1).fit(Predictions(ids=IDS, embeddings=X, losses=losses)).slices_
        for losses in (Y.astype(np.float64), Y.astype(np.float64) * scale)
    )
    assert_same(here, there, weights=1e-2, scale=scale)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_size": None}, "must be a number"),
        ({"min_size": "0.1"}, "must be a number"),
        ({"min_size": True}, "must be a number"),
        ({"min_size": float("nan")}, "min_size=nan"),
        ({"device": "gpu"}, "choose cpu or cuda"),
        ({"device": 1.5}, "choose cpu or cuda"),
    ],
)
def test_invalid_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Spotlight(**settings).fit(Predictions.from_arrays(X, Y))


def test_published_runs_that_start_with_no_weight_are_refused() -> None:
    """Embeddings of norm ≈ 400 lie outside the first radius of 100, where the published code gives NaN."""
    p = Predictions.from_arrays(X + np.float32(200), Y)
    with pytest.raises(ValueError, match="use search='multistart'"):
        Spotlight(search="published", min_size=10).fit(p)
    assert Spotlight(n_slices=1, min_size=10).fit(p).slices_.statistics[0].size >= 10


def test_published_runs_that_collapse_warn() -> None:
    """The published barrier is bounded, so losses far above it shrink the support to nothing."""
    p = Predictions.from_arrays(X, np.arange(60) * 1e4)
    with pytest.warns(UserWarning, match="lost every example"):
        spotlight = Spotlight(1, search="published", min_size=10, learning_rate=0.05).fit(p)
    assert spotlight.slices_.statistics[0].size >= 10
    assert np.isfinite(spotlight.slices_.weights).all()


def test_published_runs_that_end_too_small_warn() -> None:
    """With losses a little above the bounded barrier, the run goes on with less inside than requested."""
    p = Predictions.from_arrays(X, Y * 10)
    with pytest.warns(UserWarning, match=r"at size 0\.\d+ after 3000 steps, below the least size of 10"):
        spotlight = Spotlight(1, search="published", min_size=10, steps=3000).fit(p)
    assert spotlight.slices_.statistics[0].size < 10


def test_histories_hold_learning_rates_or_step_lengths() -> None:
    p = Predictions.from_arrays(X, Y)
    (adam,) = Spotlight(1, search="published", min_size=10, steps=200).fit(p).history_
    assert list(adam) == ["objective", "size", "learning_rate"]
    assert adam["learning_rate"].max() == 1e-2  # the initial rate
    far = Predictions.from_arrays(X + np.float32(200), Y)  # here the published run cannot start
    for climbed in Spotlight(2, min_size=10, steps=200).fit(far).history_:
        assert list(climbed) == ["objective", "size", "step_length"]
        assert len(set(map(len, climbed.values()))) == 1
        assert 0 < climbed["step_length"].max() < 10  # RMS distances


def test_a_share_of_less_than_one_example_is_one_example() -> None:
    p = Predictions.from_arrays(X[:2], Y[:2])
    sizes = [statistics.size for statistics in Spotlight(2, min_size=1e-6).fit(p).slices_.statistics]
    assert sizes == pytest.approx([1, 1])
    light = Predictions.from_arrays(X, Y, counts=np.full(60, 0.01))  # weights that sum to 0.6
    (statistics,) = Spotlight(1, min_size=0.05).fit(light).slices_.statistics
    assert statistics.size == pytest.approx(0.03)


def test_full_precision_in_many_dimensions_is_refused_early() -> None:
    rng = np.random.default_rng(0)
    p = Predictions.from_arrays(rng.normal(size=(60, 2000)).astype(np.float32), Y)
    with pytest.raises(ValueError, match=r"2000 dimensions has 4000000 numbers .* \(n_components=64\)"):
        Spotlight(precision="full", min_size=10).fit(p)
    few = Spotlight(1, precision="full", min_size=10, n_components=3, steps=20).fit(p)
    assert few.precisions_.shape == (1, 3, 3)


@pytest.mark.parametrize("attributes", [None, {"hand": np.repeat(["left", "right"], 6)}])
@pytest.mark.parametrize("search", ["multistart", "published"])
def test_twelve_rows_in_one_dimension_and_the_lowest_losses_are_reported_without_nan(
    search: str, attributes: dict[str, np.ndarray] | None
) -> None:
    y = np.r_[np.zeros(6), Y[:6]]
    p = Predictions.from_arrays(X[:12, :1], y, correct=y < 1, attributes=attributes)
    spotlight = Spotlight(flip=True, search=search, steps=300).fit(p)
    assert all(statistics.size >= 1 for statistics in spotlight.slices_.statistics)
    findings = Findings.build(p, spotlight.slices_)
    console = Console(file=io.StringIO(), record=True)
    console.print(findings_summary(findings))
    told = json.dumps(asdict(findings), default=str) + console.export_text() + read(render(findings))
    assert not re.search(r"\bnan\b|\binf", told, re.IGNORECASE)


@pytest.mark.parametrize("name", ["losses", "embeddings"])
def test_values_that_are_not_finite_are_refused_with_their_row(name: str) -> None:
    arrays = {"embeddings": X.copy(), "losses": Y.copy()}
    arrays[name][5] = np.nan
    ids = np.array([f"row{i}" for i in range(60)])
    with pytest.raises(ValueError, match=rf"{name}: row 5 \(id row5\)"):
        Spotlight().fit(Predictions(ids=ids, **arrays))


def test_a_refused_fit_leaves_nothing_behind() -> None:
    spotlight = Spotlight(min_size=60)
    with pytest.raises(ValueError, match="less than all 60"):
        spotlight.fit(Predictions.from_arrays(X, Y))
    assert not hasattr(spotlight, "slices_")


@pytest.mark.parametrize("precision", ["spherical", "diagonal", "full"])
def test_precisions_and_components_survive_saving(tmp_path: Path, precision: str) -> None:
    """Principal components and every form of precision reapply to the embeddings they came from."""
    p = Predictions.from_arrays(X + np.float32(3), Y)
    spotlight = Spotlight(n_slices=2, min_size=10, precision=precision, n_components=3, steps=100).fit(p)
    assert spotlight.centers_.shape == (2, 4)
    assert (
        spotlight.precisions_.shape == {"spherical": (2,), "diagonal": (2, 3), "full": (2, 3, 3)}[precision]
    )
    np.testing.assert_array_equal(spotlight.membership(p).T, spotlight.slices_.weights)
    loaded = Slices.load(spotlight.slices_.save(tmp_path / "slices"))
    assert loaded.equals(spotlight.slices_)
