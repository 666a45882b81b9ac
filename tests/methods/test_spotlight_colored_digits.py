"""Spotlight on trained models: no collapse, no slice too small, no worse than the published run."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from weakspot import Predictions, Spotlight
from weakspot.datasets.colored_digits import ColoredDigits
from weakspot.methods.spotlight.kernel import kernel_weights, quadratic_form
from weakspot.models.small_cnn import SmallCNN

SIZES = [
    5,
    10,
    20,
    0.01,
    0.02,
    0.03,
    0.05,
    0.08,
    0.1,
    0.15,
    0.2,
    0.25,
    0.3,
    0.35,
    0.4,
    0.45,
    0.5,
    0.6,
    0.7,
    0.8,
]
EPOCHS = 20


def pictures(split: str) -> tuple[ColoredDigits, torch.Tensor, torch.Tensor]:
    dataset = ColoredDigits(split)
    inputs = torch.stack([dataset[i]["input"] for i in range(len(dataset))])
    return dataset, inputs, torch.as_tensor(np.asarray(dataset.targets))


def predictions_of_a_trained_model(seed: int) -> Predictions:
    torch.manual_seed(seed)
    dataset, x, y = pictures("train")
    model = SmallCNN(dataset.task)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    test, x, y = pictures("test")
    with torch.no_grad():
        z = model.embed(x)
        outputs = model.head(z)
    return Predictions.from_arrays(
        z, outputs=outputs, labels=y, task=test.task, attributes=test.examples.drop(["id"])
    )


def loss_at(p: Predictions, centre: np.ndarray, size: float) -> float:
    """The loss of the spotlight of this size at a centre; bisection finds its precision."""
    assert p.losses is not None
    q = quadratic_form(p.embeddings, centre, np.ones(()))
    low, high = 0.0, 1e9
    for _ in range(200):
        middle = (low + high) / 2 if low == 0 else float(np.sqrt(low * high))
        low, high = (middle, high) if kernel_weights(middle * q).sum() >= size else (low, middle)
    w = kernel_weights(low * q)
    return float(w @ p.losses / w.sum())


@pytest.mark.slow
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.optional) for seed in range(1, 5))]
)
def test_a_hundred_runs_neither_collapse_nor_shrink_nor_lose_to_published(seed: int) -> None:
    p = predictions_of_a_trained_model(seed)
    for min_size in SIZES:
        spotlight = Spotlight(n_slices=2, min_size=min_size, seed=seed).fit(p)
        size = min_size if isinstance(min_size, int) else min_size * len(p)
        assert np.isfinite(spotlight.slices_.weights).all()
        assert all(statistics.size >= size for statistics in spotlight.slices_.statistics)
        try:
            published = Spotlight(n_slices=1, min_size=min_size, search="published").fit(p)
        except (UserWarning, ValueError):  # it collapsed; warnings are errors here
            continue
        theirs = loss_at(p, published.centers_[0], size)
        assert spotlight.slices_.statistics[0].loss_inside >= theirs - 1e-9 * abs(theirs)


@pytest.mark.slow
def test_the_first_spotlight_is_mostly_the_worst_group() -> None:
    p = predictions_of_a_trained_model(0)
    spotlight = Spotlight(n_slices=1).fit(p)
    groups = np.array(p.attributes["group"].to_pylist())
    names = np.unique(groups)
    assert p.correct is not None
    worst = min(names, key=lambda name: p.correct[groups == name].mean())
    w = spotlight.slices_.weights[0]
    share = {name: w[groups == name].sum() / w.sum() for name in names}
    assert max(share, key=lambda name: share[name]) == worst
    assert share[worst] > 0.5
