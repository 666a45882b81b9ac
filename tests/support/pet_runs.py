"""Runs over synthetic predictions of pets in four kinds of weather; the model fails in some of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from weakspot import Predictions
from weakspot.methods import Method
from weakspot.pipeline.discover import discover
from weakspot.tasks import Classification

CLASSES = Classification(("cat", "dog"))


def predictions(fails, model, n=600, checkpoint=None):
    """Predictions of a model that fails in the weather listed in `fails`: fog (0), snow (1)."""
    rng = np.random.default_rng(0)
    place = rng.integers(0, 4, n)
    x = rng.normal(size=(n, 4)) + 6 * np.eye(4)[place]
    labels = rng.integers(0, 2, n)
    right = rng.random(n) < np.where(np.isin(place, fails), 0.1, 0.97)
    return Predictions.from_arrays(
        x,
        labels=labels,
        predictions=np.where(right, labels, 1 - labels),
        losses=np.where(right, 0.1, 2.0) + rng.exponential(0.1, n),
        attributes={"weather": np.array(["fog", "snow", "sun", "rain"])[place]},
        task=CLASSES,
        manifest={"dataset": "pets", "model": model, "checkpoint": checkpoint},
    )


def write_run(folder: Path, name: str, fails: list[int], method: Method) -> None:
    """Write a store of predictions and a method's run on it below a folder of outputs."""
    store = folder / "predictions" / name
    store.parent.mkdir(parents=True, exist_ok=True)
    predictions(fails, name).save(store)
    discover(method, Predictions.load(store), folder / "discover" / name)
