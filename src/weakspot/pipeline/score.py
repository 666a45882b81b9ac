"""How well a model did on a split, in the task's own measures: over all examples, and class by class."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from weakspot.datasets.base import Dataset
from weakspot.predictions import Predictions
from weakspot.tasks import Classification, Multilabel

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
    task, labels, guesses = predictions.task, predictions.labels, predictions.predictions
    if labels is None or guesses is None or task is None or not task.by_accuracy:
        return {}
    columns: Mapping[str, np.ndarray]
    if isinstance(task, Multilabel):
        precision, recall, f1 = _precision_recall_f1(*_tallies(labels, guesses))
        columns = {
            "examples": labels.sum(axis=0),
            "accuracy": (labels == guesses).mean(axis=0),
            "precision": precision,
            "recall": recall,
            "f1": f1,
        }
    elif isinstance(task, Classification):
        examples = np.bincount(labels, minlength=len(task.classes))
        right = np.bincount(labels[labels == guesses], minlength=len(task.classes))
        columns = {"examples": examples, "accuracy": _share(right, examples, otherwise=np.nan)}
    else:
        return {}
    return {
        one: {name: float(column[row]) for name, column in columns.items()}
        for row, one in enumerate(task.classes)
    }


def _averages(predictions: Predictions) -> dict[str, float]:
    labels, guesses = predictions.labels, predictions.predictions
    if labels is None or guesses is None or not isinstance(predictions.task, Multilabel):
        return {}
    tallies = _tallies(labels, guesses)
    by_class = (float(values.mean()) for values in _precision_recall_f1(*tallies))
    overall = (float(value) for value in _precision_recall_f1(*(tally.sum() for tally in tallies)))
    return dict(zip(("P_C", "R_C", "F_C", "P_O", "R_O", "F_O"), (*by_class, *overall), strict=True))


def _tallies(labels: np.ndarray, guesses: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every class how many answers are rightly yes, how many are yes, and how many should be."""
    truth, said = labels.astype(bool), guesses.astype(bool)
    return (truth & said).sum(axis=0), said.sum(axis=0), truth.sum(axis=0)


def _precision_recall_f1(
    hits: np.ndarray, said: np.ndarray, truth: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return _share(hits, said), _share(hits, truth), _share(2 * hits, said + truth)


def _share(part: np.ndarray, whole: np.ndarray, otherwise: float = 0.0) -> Float[np.ndarray, " *k"]:
    """The shares, and `otherwise` where there is nothing that they could be shares of."""
    shares: np.ndarray = np.divide(part, whole, out=np.full(np.shape(whole), otherwise), where=whole > 0)
    return shares
