"""How well a model did on a split, in the task's own measures: over all examples, and class by class."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from weakspot.datasets.base import Dataset
from weakspot.findings.classes import ClassCounts, count_classes
from weakspot.predictions import Predictions
from weakspot.tasks import Multilabel

ByClass = dict[str, dict[str, float]]
"""By class and measure; `examples` says how many have the class as their label, or one of their labels."""


def score(predictions: Predictions, dataset: Dataset) -> dict[str, float]:
    """Mean loss, accuracy, the task's measure where it is another number (f1, rmse), and what the dataset alone
    can tell (exact match and F1 of answers).

    For several labels also what the literature states: precision, recall and F1 averaged over the classes (P_C, R_C
    and F_C, the mean of the classes' F1) and over all answers together (P_O, R_O, F_O).
    """
    import torch

    found: dict[str, float] = {}
    if predictions.losses is not None:
        found["loss"] = float(predictions.losses.mean())
    if predictions.accuracy is not None:
        found["accuracy"] = predictions.accuracy
    told = {} if predictions.predictions is None else dict(dataset.scores(predictions.predictions))
    task = dataset.task
    if task.measure not in found | told and predictions.outputs is not None:
        metric = task.metric()
        metric.update(task.estimate(torch.tensor(predictions.outputs)), torch.tensor(predictions.labels))
        found[task.measure] = float(metric.compute())
    return found | told | _averages(predictions)


def score_by_class(predictions: Predictions) -> ByClass:
    """The share of a class's examples that are right; for several labels the share of all examples whose answer to
    that class is, and the class's precision, recall and F1. Nothing for tasks that are not judged so.

    A share of nothing is NaN where it is an accuracy, and 0 where it is a precision, recall or F1.
    """
    found = count_classes(predictions)
    if found is None:
        return {}
    columns = {"examples": found.actual}
    if isinstance(predictions.task, Multilabel):
        columns |= {"accuracy": found.agreement, **_of(found)}
    else:
        columns |= {"accuracy": found.recall}
    return {
        one: {name: float(column[row]) for name, column in columns.items()}
        for row, one in enumerate(found.names)
    }


def _averages(predictions: Predictions) -> dict[str, float]:
    found = count_classes(predictions)
    if found is None or not isinstance(predictions.task, Multilabel):
        return {}
    by_class, overall = _of(found), _of(found.pooled())
    letters = {"P": "precision", "R": "recall", "F": "f1"}
    return {f"{letter}_C": float(by_class[name].mean()) for letter, name in letters.items()} | {
        f"{letter}_O": float(overall[name].item()) for letter, name in letters.items()
    }


def _of(found: ClassCounts) -> dict[str, Float[np.ndarray, " k"]]:
    """Precision, recall and F1, where a share of nothing is 0, as the literature has it."""
    shares = {"precision": found.precision, "recall": found.recall, "f1": found.f1}
    return {name: np.nan_to_num(values, nan=0.0) for name, values in shares.items()}
