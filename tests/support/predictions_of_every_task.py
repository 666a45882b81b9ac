"""Predictions of every kind of task; the models fail on a separate group of embeddings."""

from __future__ import annotations

import numpy as np

from weakspot import Predictions
from weakspot.findings import Media
from weakspot.tasks import Classification, Multilabel, Rating, Regression

N = 500


def embedded(rng):
    """Embeddings with a separate group of about 15 % of the rows, and its mask: every model below fails there."""
    apart = rng.random(N) < 0.15
    x = rng.normal(size=(N, 6))
    x[apart, :3] += 5
    return x, apart


def classes(rng):
    x, apart = embedded(rng)
    labels = rng.integers(0, 2, N)
    right = rng.random(N) < np.where(apart, 0.2, 0.95)
    return Predictions.from_arrays(
        x,
        losses=np.where(right, 0.1, 2) + rng.exponential(0.1, N),
        labels=labels,
        predictions=np.where(right, labels, 1 - labels),
        attributes={"weather": np.where(apart, "<fog>", "sun")},
        task=Classification(("cat", "dog")),
        manifest={"dataset": "pets", "model": "net"},
    ), Media()


def texts(rng):
    p, _ = classes(rng)
    foggy = np.array(p.attributes["weather"].to_pylist()) == "<fog>"
    said = [f"refund my broken thing {i}" if f else f"a lovely <day> {i}" for i, f in enumerate(foggy)]
    bare = Predictions.from_arrays(
        p.embeddings, losses=p.losses, labels=p.labels, predictions=p.predictions, task=p.task
    )
    return bare, Media(said.__getitem__), said


def several_labels(rng):
    x, apart = embedded(rng)
    labels = (rng.random((N, 3)) < 0.5).astype(int)
    logits = np.where(labels == 1, 3.0, -3.0) + rng.normal(size=(N, 3))
    logits[apart] *= -1
    task = Multilabel(("bed", "person", "dog"))
    return Predictions.from_arrays(x, outputs=logits, labels=labels, task=task), Media()


def ratings(rng):
    x, apart = embedded(rng)
    labels = rng.integers(0, 5, N)
    outputs = np.eye(5)[np.where(apart, 4 - labels, labels)] * 4.0 + rng.normal(size=(N, 5)) / 10
    attributes = {"user": rng.integers(0, 9, N).astype(str), "movie": np.where(apart, "Saw", "Up")}
    task = Rating(("1", "2", "3", "4", "5"))
    return Predictions.from_arrays(
        x, labels=labels, outputs=outputs, attributes=attributes, task=task
    ), Media()


def numbers(rng, loss="squared"):
    x, apart = embedded(rng)
    truth = rng.normal(size=N)
    guess = truth + rng.normal(size=N) * np.where(apart, 3, 0.3)
    return Predictions.from_arrays(x, labels=truth, predictions=guess, task=Regression(loss=loss)), Media()


def losses_alone(rng):
    x, apart = embedded(rng)
    return Predictions.from_arrays(x, losses=rng.exponential(1, N) + 3 * apart), Media()
