"""Predictions whose examples lie in separated groups; the model fails in some of them."""

from __future__ import annotations

import numpy as np

from weakspot.predictions import Predictions
from weakspot.tasks import Classification, Multilabel


def single_label(n: int = 900, seed: int = 0, **more: object) -> Predictions:
    """Fifteen separated groups; the model fails in group 0, is middling in group 1 and perfect in 2 to 6."""
    random = np.random.default_rng(seed)
    group = random.choice(15, n)
    x = (4 * random.normal(size=(15, 10)))[group] + random.normal(size=(n, 10))
    rate = np.select([group == 0, group == 1, group < 7], [0.1, 0.75, 1.0], 0.93)
    labels = random.choice(4, n)
    guess = np.where(random.random(n) < rate, labels, (labels + 1) % 4)
    outputs = random.normal(size=(n, 4))
    outputs[np.arange(n), guess] += 6
    attributes = {
        "group": group.astype(str),
        "bright": group < 2,
        "age": random.normal(40, 10, n).round(1),
        "file": [f"{i}.png" for i in range(n)],
    }
    task = Classification(("cat", "dog", "fox", "owl"))
    return Predictions.from_arrays(
        x, labels=labels, outputs=outputs, attributes=attributes, task=task, **more
    )


def multilabel(n: int = 700, seed: int = 1) -> Predictions:
    """Ten groups, six categories; in groups 0 and 1 `bed` is predicted wrongly, and always with `cup`."""
    random = np.random.default_rng(seed)
    group = random.choice(10, n)
    x = (4 * random.normal(size=(10, 8)))[group] + random.normal(size=(n, 8))
    labels = (random.random((n, 6)) < 0.3).astype(int)
    labels[:, 2] = random.random(n) < np.where(group < 2, 0.1, 0.95)
    guesses = np.where(random.random((n, 6)) < 0.9, labels, 1 - labels)
    guesses[:, 2] = random.random(n) < 0.9
    guesses[group < 2, 4] = 1
    outputs = np.where(guesses, 1.0, -1.0) * random.uniform(0.5, 4, (n, 6))
    task = Multilabel(("chair", "dog", "bed", "fork", "cup", "cat"))
    return Predictions.from_arrays(x, labels=labels, outputs=outputs, task=task)
