"""Another library's rounding may change last bits, never whether there is a result or which of several equals it is.

Matrix products differ in their last bits from one processor, library or number of threads to another (`.ci/run` tries
some of these). Here the last bits of all distances are drawn at random.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from weakspot import UDIS, Predictions, Spotlight
from weakspot.methods.distributed import SingleProcess
from weakspot.methods.spotlight import precision as precisions
from weakspot.methods.spotlight.fixed_size import scale_of_size
from weakspot.methods.spotlight.objective import DeviceProblem, Problem
from weakspot.methods.spotlight.optim.dense import DenseOptimizer
from weakspot.methods.spotlight.optim.optimizer import OptimizationRun
from weakspot.methods.spotlight.search.starting_points import StartingPoints
from weakspot.methods.udis.cut_choice import best_cut, hill_climb
from weakspot.methods.udis.membership import nearest_center

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype(np.float32)
Y = RNG.exponential(1.0, 60).astype(np.float32)

CASES = {
    "two places": np.repeat(X[:2], 30, axis=0),
    "two places, one larger": np.repeat(X[:2], [50, 10], axis=0),
    "many copies of one point": np.concatenate([np.tile(X[:1], (40, 1)), X[:20]]),
    "mirrored": np.concatenate([X[:8], -X[:8]]),
    "corners": np.array([[(i >> j) & 1 for j in range(4)] for i in range(16)], dtype=np.float32),
    "two examples": X[:2],
    "three on a line": np.array([[0.0], [1.0], [2.0]], dtype=np.float32),
}


@pytest.fixture
def last_bits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Perturb every q by up to four roundings of the terms it sums, anew at each evaluation."""
    noise = torch.Generator().manual_seed(request.param)

    def off(precision: type[precisions.Precision]) -> None:
        exact = precision.quadratic_form

        def rounded(
            self: precisions.Precision, x: Tensor, squares: Tensor, m: Tensor, parameters: Tensor
        ) -> Tensor:
            q = exact(self, x, squares, m, parameters)
            terms = q  # for a full precision, which subtracts before it squares
            if precision is not precisions.FullPrecision:
                p = parameters.exp().expand(len(m), x.shape[1])
                terms = x.double().square() @ p.T + (p * m * m).sum(dim=1)
            bits = 2 * torch.rand(q.shape, generator=noise, dtype=q.dtype) - 1
            return (q + 4 * torch.finfo(x.dtype).eps * terms * bits).clamp(min=0)

        monkeypatch.setattr(precision, "quadratic_form", rounded)

    for precision in (precisions.SphericalPrecision, precisions.DiagonalPrecision, precisions.FullPrecision):
        off(precision)


@pytest.mark.parametrize(
    "last_bits", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))], indirect=True
)
@pytest.mark.parametrize("precision", ["spherical", "diagonal", "full"])
@pytest.mark.parametrize("name", CASES)
def test_spotlights_reach_the_requested_size(name: str, precision: str, last_bits: None) -> None:
    x = CASES[name]
    size = {60: 10, 16: 4}.get(len(x), 1)
    p = Predictions.from_arrays(x, Y[: len(x)])
    spotlight = Spotlight(n_slices=2, min_size=size, precision=precision, steps=20).fit(p)
    assert np.isfinite(spotlight.slices_.weights).all()
    assert all(statistics.size >= size for statistics in spotlight.slices_.statistics)


@pytest.mark.parametrize("last_bits", [0, 1], indirect=True)
@pytest.mark.parametrize("precision", ["spherical", "diagonal", "full"])
def test_an_ascent_keeps_equidistant_rows(precision: str, last_bits: None) -> None:
    """The centre is one of two points; q of its copies is nothing but rounding."""
    x = torch.from_numpy(CASES["two places"])
    dense = DenseOptimizer(x, precisions.make_precision(precision, 0), SingleProcess())
    problem = Problem(Y.astype(np.float64), np.ones(60), 10.0, 1.0)
    start = OptimizationRun.at(x[0].double().numpy(), dense.precision.isotropic(np.array([1e9]), 4)[0])
    (run,) = dense.ascend(problem, [start], [10.0], 1e-9)
    assert np.isfinite(run.value)
    assert run.centre is not None
    for _ in range(20):  # whatever the last bits are, the copies stay inside
        q = dense.quadratic_form(dense.tensor(run.centre)[None], dense.tensor(run.parameters)[None])[:30, 0]
        assert (q < 1).all()


@pytest.mark.parametrize("precision", ["spherical", "diagonal", "full"])
def test_copies_at_the_centre_are_inside_with_full_weight(precision: str) -> None:
    """If one point has enough copies, they make the smallest spotlight, whose radius does not depend on rounding."""
    x = torch.from_numpy(CASES["two places"])
    dense = DenseOptimizer(x, precisions.make_precision(precision, 0), SingleProcess())
    device_problem = DeviceProblem.of(
        Problem(Y.astype(np.float64), np.ones(60), 10.0, 1.0), torch.device("cpu")
    )
    parameters = dense.tensor(dense.precision.isotropic(np.ones(1), 4))
    value, by_m, by_shape, factor = dense.at_size(device_problem, x[:1].double(), parameters)
    q = dense.quadratic_form(x[:1].double(), dense.precision.scale(parameters, factor[:, None]))[:, 0]
    assert (q[:30] <= 0.5).all()
    assert (q[30:] > 1).all()
    assert float(value) == pytest.approx(Y[:30].mean(), rel=0.2)
    assert torch.isfinite(by_m).all()
    assert torch.isfinite(by_shape).all()


def test_a_process_without_rows_agrees_on_the_scale() -> None:
    """If rows are sharded, this process may have none nearby; the sums then come from the others."""

    class Others(SingleProcess):
        def sum(self, values: Tensor) -> Tensor:
            return values + torch.tensor([[4.0], [2.0]], dtype=values.dtype)  # Σc and Σc·q of their rows

    q = torch.empty((0, 1), dtype=torch.float64)
    scale = scale_of_size(q, torch.empty(0, dtype=torch.float64), 3.0, Others())
    assert scale.tolist() == [0.5]


def test_starting_points_cope_with_copies_and_mirrored_rows() -> None:
    for name in ("two places", "mirrored", "corners"):
        x = CASES[name]
        dense = DenseOptimizer(torch.from_numpy(x), precisions.SphericalPrecision(), SingleProcess())
        size = {60: 10.0, 16: 4.0}[len(x)]
        problem = Problem(Y[: len(x)].astype(np.float64), np.ones(len(x)), size, 1.0)
        starts = StartingPoints(dense, size, float(len(x))).at_high_losses(problem, 10)
        assert 1 <= len(starts) <= 10
        assert all((np.abs(x - run.centre).sum(axis=1) == 0).any() for run in starts)


def test_rows_equidistant_from_two_centres_belong_to_the_first() -> None:
    random = np.random.default_rng(1)
    axis = random.normal(size=40)
    centers = 5 + np.stack([axis, -axis])
    rows = random.normal(size=(3000, 40))
    rows = 5 + rows - (rows @ axis)[:, None] * axis / (axis @ axis)
    assert (nearest_center(rows, centers) == 0).all()
    assert (nearest_center(rows - 1e-9 * axis, centers) == 1).all()


def test_ties_between_cuts_are_broken_by_the_number_of_clusters() -> None:
    bits = np.random.default_rng(2).uniform(-1e-9, 1e-9, (50, 6))
    plain = dict(zip(range(2, 8), [0.2, 0.5, 0.5, 0.1, 0.5, 0.3], strict=True))
    for noise in bits:
        scores = {k: score + bit for (k, score), bit in zip(plain.items(), noise, strict=True)}
        assert best_cut(scores) == 3
        assert hill_climb(scores) == hill_climb(plain)


def test_equal_rows_share_a_micro_cluster_despite_rounding() -> None:
    """Copies in distant rows are multiplied in different blocks but still form one micro-cluster."""
    places = np.random.default_rng(3).normal(size=(7, 50)).astype(np.float32) / 3
    x = places[np.random.default_rng(4).integers(7, size=9001)]
    u = UDIS(approximate=30).fit(Predictions.from_arrays(x, correct=np.arange(9001) % 3 > 0))
    assert u.cut_ == len(u.linkage_) + 1 == 7
