"""Hand-written gradients against autograd in float64, and the lazy optimiser against the plain one."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from weakspot.methods.distributed import SingleProcess
from weakspot.methods.spotlight.objective import DeviceProblem, EntropyPenalty, Problem
from weakspot.methods.spotlight.optim.dense import DenseOptimizer
from weakspot.methods.spotlight.optim.lazy import LazyOptimizer
from weakspot.methods.spotlight.optim.optimizer import AdamSchedule, OptimizationRun
from weakspot.methods.spotlight.precision import Precision, make_precision

N, D = 300, 5
FORMS = ["spherical", "diagonal", "full"]


def embeddings(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(N, D)) / math.sqrt(D)


def problem(penalised: bool, sign: float = 1.0, seed: int = 1) -> Problem:
    rng = np.random.default_rng(seed)
    penalties = tuple(EntropyPenalty(rng.integers(0, k, N), k, weight) for k, weight in ((4, 0.3), (3, 0.2)))
    return Problem(
        losses=rng.exponential(1.0, N),
        counts=rng.integers(1, 4, N).astype(np.float64),
        size=40.0,
        barrier_cost=1.7,
        sign=sign,
        penalties=penalties if penalised else (),
    )


def centres_and_parameters(precision: Precision, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Two spotlights, neither of them spherical if the form allows it."""
    parameters = precision.isotropic(np.array([0.6, 0.9]), D)
    parameters[:, precision.movable(D)] += 0.3 * rng.normal(size=parameters[:, precision.movable(D)].shape)
    if precision.name == "full":
        for row in parameters:
            row[: D * D] = np.linalg.qr(rng.normal(size=(D, D)))[0].ravel()
    return torch.from_numpy(0.2 * rng.normal(size=(2, D))), torch.from_numpy(parameters)


def textbook(
    x: Tensor,
    spotlight_problem: Problem,
    m: Tensor,
    precision: Precision,
    parameters: Tensor,
    barrier: float | None,
) -> Tensor:
    """The published objective, written with a precision matrix and left to autograd."""
    if precision.name == "full":
        vectors, values = parameters[: D * D].reshape(D, D), parameters[D * D :]
        matrix = vectors @ torch.diag(values.exp()) @ torch.linalg.inv(vectors)
    else:
        matrix = torch.diag(parameters.exp().expand(D))
    away = x - m
    w = (1 - ((away @ matrix) * away).sum(dim=1)).clamp(min=0)
    mass = w * torch.from_numpy(spotlight_problem.counts)
    size = mass.sum()
    value = spotlight_problem.sign * (mass @ torch.from_numpy(spotlight_problem.losses)) / size
    if barrier is not None and size < spotlight_problem.size + barrier:
        value = (
            value
            - spotlight_problem.barrier_cost * (size - spotlight_problem.size - barrier) ** 2 / barrier**2
        )
    for penalty in spotlight_problem.penalties:
        shares = torch.stack(
            [mass[torch.from_numpy(penalty.codes == k)].sum() for k in range(penalty.categories)]
        )
        entropy = torch.distributions.Categorical(probs=shares / size).entropy() / math.log(2)
        value = value - penalty.weight * entropy
    return value


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("penalised", [False, True])
@pytest.mark.parametrize("barrier", [300.0, 5.0])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_gradients_equal_autograd(name: str, penalised: bool, barrier: float, sign: float) -> None:
    precision = make_precision(name, seed=0)
    spotlight_problem = problem(penalised, sign)
    x = torch.from_numpy(embeddings())
    dense = DenseOptimizer(x, precision, SingleProcess())
    m, parameters = centres_and_parameters(precision, np.random.default_rng(2))
    value, size, by_m, by_shape = dense.value_and_gradient(
        DeviceProblem.of(spotlight_problem, x.device), m, parameters, barrier
    )
    assert (size > 0).all()
    for j in range(2):
        one_m, one_shape = m[j].clone().requires_grad_(), parameters[j].clone().requires_grad_()
        expected = textbook(x, spotlight_problem, one_m, precision, one_shape, barrier)
        expected.backward()
        assert value[j].item() == pytest.approx(expected.item(), rel=1e-12)
        assert one_m.grad is not None
        assert one_shape.grad is not None
        for ours, theirs in ((by_m[j], one_m.grad), (by_shape[j], one_shape.grad)):
            assert (ours - theirs).abs().max() <= 1e-9 * theirs.abs().max()


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("penalised", [False, True])
def test_gradient_at_exact_size_equals_differences(name: str, penalised: bool) -> None:
    """Every step changes the scale that keeps the size, which autograd through a fixed scale would miss."""
    precision = make_precision(name, seed=0)
    x = torch.from_numpy(embeddings())
    dense, given_ = (
        DenseOptimizer(x, precision, SingleProcess()),
        DeviceProblem.of(problem(penalised), x.device),
    )
    m, parameters = (part[:1] for part in centres_and_parameters(precision, np.random.default_rng(3)))
    _, by_m, by_shape, factor = dense.at_size(given_, m, parameters)
    w = (1 - dense.quadratic_form(m, precision.scale(parameters, factor[:, None]))).clamp(min=0)
    assert (given_.counts @ w).item() == pytest.approx(given_.problem.size, rel=1e-12)
    step = 1e-6
    movable = range(by_shape.shape[1])[precision.movable(D)]
    for gradient, moved, entries in ((by_m, m, range(D)), (by_shape, parameters, movable)):
        for k in entries:
            ends = []
            for way in (step, -step):
                there = moved.clone()
                there[0, k] += way
                ends.append(
                    dense.at_size(given_, *((there, parameters) if moved is m else (m, there)))[0].item()
                )
            assert gradient[0, k].item() == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=2e-6)


@pytest.mark.parametrize("penalised", [False, True])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_lazy_and_plain_ascents_are_the_same(penalised: bool, sign: float) -> None:
    """Both use float64 and the same starts, at decreasing sizes."""
    x = embeddings()
    spotlight_problem = problem(penalised, sign)
    starts = [OptimizationRun.at(m, np.zeros(1)) for m in (np.zeros(D), x[0], x[1], 3 * x[2])]
    lazy = LazyOptimizer(x).ascend(spotlight_problem, starts, [200.0, 80.0, spotlight_problem.size], 1e-9)
    dense = DenseOptimizer(torch.from_numpy(x), make_precision("spherical", 0), SingleProcess())
    plain = dense.ascend(spotlight_problem, starts, [200.0, 80.0, spotlight_problem.size], 1e-9)
    for ours, theirs in zip(lazy, plain, strict=True):
        assert ours.centre is not None
        first = int((ours.size == 200.0).sum())
        assert ours.objective[0] == pytest.approx(theirs.objective[0], rel=1e-9)
        assert ours.objective[first - 1] == pytest.approx(theirs.objective[first - 1], rel=1e-4)
        w = np.maximum(0, 1 - np.exp(ours.parameters[0]) * ((x - ours.centre) ** 2).sum(axis=1))
        assert spotlight_problem.counts @ w == pytest.approx(spotlight_problem.size, rel=1e-9)
        if not penalised:
            inside = (
                (spotlight_problem.counts * w) @ spotlight_problem.losses / (spotlight_problem.counts @ w)
            )
            assert ours.value == pytest.approx(sign * inside, rel=1e-9)


def test_enough_copies_make_the_smallest_sphere() -> None:
    """One point has as many copies as requested: no radius is too small, yet the ascent ends."""
    x = np.concatenate([embeddings(), np.repeat(embeddings()[:1], 50, axis=0)]).astype(np.float32)
    spotlight_problem = replace(
        problem(False), losses=np.resize(problem(False).losses, len(x)), counts=np.ones(len(x))
    )
    (run,) = LazyOptimizer(x).ascend(
        spotlight_problem,
        [OptimizationRun.at(x[0].astype(np.float64), np.zeros(1))],
        [spotlight_problem.size],
        1e-9,
    )
    assert run.centre is not None
    assert np.isfinite(run.value)
    w = np.maximum(0, 1 - np.exp(run.parameters[0]) * ((x.astype(np.float64) - run.centre) ** 2).sum(axis=1))
    assert spotlight_problem.counts @ w >= spotlight_problem.size * (1 - 1e-6)


@pytest.mark.parametrize("penalised", [False, True])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_lazy_and_plain_runs_are_the_same(penalised: bool, sign: float) -> None:
    """Both use float64 and differ only in the order of sums, until chaos amplifies this."""
    x = embeddings()
    spotlight_problem = problem(penalised, sign)
    schedule = AdamSchedule(np.geomspace(spotlight_problem.counts.sum() - 40, 2, 400), 1e-2, 10, 0.5)
    start, parameters = np.full((1, D), 0.05), np.log([[0.2]])
    (lazy,) = LazyOptimizer(x).adam(spotlight_problem, schedule, start, parameters)
    (plain,) = DenseOptimizer(torch.from_numpy(x), make_precision("spherical", 0), SingleProcess()).adam(
        spotlight_problem, schedule, start, parameters
    )
    assert lazy.complete
    assert plain.complete
    assert lazy.rows_read < 0.5 * N * len(schedule.barrier)
    np.testing.assert_allclose(lazy.objective[:150], plain.objective[:150], rtol=1e-9)
    np.testing.assert_allclose(lazy.size[:150], plain.size[:150], rtol=1e-8)
    np.testing.assert_array_equal(lazy.learning_rate[:150], plain.learning_rate[:150])
    assert lazy.objective[-1] == pytest.approx(plain.objective[-1], abs=0.05 * np.abs(plain.objective).max())


def test_batched_runs_equal_single_runs() -> None:
    x = torch.from_numpy(embeddings())
    dense = DenseOptimizer(x, make_precision("spherical", 0), SingleProcess())
    spotlight_problem = problem(penalised=False)
    schedule = AdamSchedule(np.geomspace(300, 2, 100), 1e-2, 10, 0.5)
    starts = np.random.default_rng(5).normal(size=(3, D)) * 0.1
    parameters = np.log(np.full((3, 1), 0.3))
    together = dense.adam(spotlight_problem, schedule, starts, parameters)
    for j in range(3):
        (alone,) = dense.adam(spotlight_problem, schedule, starts[j : j + 1], parameters[j : j + 1])
        np.testing.assert_allclose(together[j].objective, alone.objective, rtol=1e-9)


@pytest.mark.parametrize("optimizer", ["lazy", "plain"])
def test_a_run_that_loses_every_example_keeps_the_last_that_was_large_enough(optimizer: str) -> None:
    """The published barrier is bounded: with losses far above it, the support shrinks to nothing."""
    x = embeddings()
    spotlight_problem = replace(
        problem(penalised=False), losses=1000 * np.arange(N, dtype=np.float64) / N, barrier_cost=1e-3
    )
    schedule = AdamSchedule(np.geomspace(300, 2, 3000), 5e-2, 10, 0.5)
    optimiser = (
        LazyOptimizer(x)
        if optimizer == "lazy"
        else DenseOptimizer(torch.from_numpy(x), make_precision("spherical", 0), SingleProcess())
    )
    (run,) = optimiser.adam(spotlight_problem, schedule, np.zeros((1, D)), np.log([[0.2]]))
    assert not run.complete
    assert run.centre is not None
    assert len(run.objective) < 3000
    assert np.isfinite(run.objective).all()
    w = np.maximum(0, 1 - np.exp(run.parameters[0]) * ((x - run.centre) ** 2).sum(axis=1))
    assert spotlight_problem.counts @ w >= spotlight_problem.size
