"""Scores a model on a split, in the task's own metrics: over all examples, and by class."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from weakspot.datasets.base import Dataset
from weakspot.findings.classes import ClassCounts, count_classes
from weakspot.predictions import Predictions
from weakspot.tasks import Multilabel

ScoresByClass = dict[str, dict[str, float]]
"""Scores by class and metric; `examples` counts those that have the class as their label, or one of their labels."""


def score(predictions: Predictions, dataset: Dataset) -> dict[str, float]:
    """Return the mean loss, the accuracy, the task's metric if it is another number (f1, rmse), and the dataset's own
    scores (exact match and F1 of answers).

    Multilabel tasks also get the metrics of the literature: precision, recall and F1 averaged over the classes (P_C,
    R_C and F_C, the mean of the classes' F1) and over all answers together (P_O, R_O, F_O).

    Args:
        predictions: The predictions.
        dataset: The dataset they belong to.
    """
    import torch

    scores: dict[str, float] = {}
    if predictions.losses is not None:
        scores["loss"] = float(predictions.losses.mean())
    if predictions.accuracy is not None:
        scores["accuracy"] = predictions.accuracy
    dataset_scores = {} if predictions.predictions is None else dict(dataset.scores(predictions.predictions))
    task = dataset.task
    if task.measure not in scores | dataset_scores and predictions.outputs is not None:
        metric = task.metric()
        metric.update(task.estimate(torch.tensor(predictions.outputs)), torch.tensor(predictions.labels))
        scores[task.measure] = float(metric.compute())
    return scores | dataset_scores | _averages(predictions)


def score_by_class(predictions: Predictions) -> ScoresByClass:
    """Return the scores of each class.

    If examples have one label, this is the share of a class's examples that are predicted correctly. For multilabel
    tasks, it is the share of all examples whose answer to that class is right, and the class's precision, recall and
    F1. Other tasks have no scores by class. If nothing is counted, an accuracy is NaN, and a precision, recall or F1
    is 0.

    Args:
        predictions: The predictions.
    """
    counts = count_classes(predictions)
    if counts is None:
        return {}
    columns = {"examples": counts.actual}
    if isinstance(predictions.task, Multilabel):
        columns |= {"accuracy": counts.agreement, **_precision_recall_f1(counts)}
    else:
        columns |= {"accuracy": counts.recall}
    return {
        name: {measure: float(column[row]) for measure, column in columns.items()}
        for row, name in enumerate(counts.names)
    }


def _averages(predictions: Predictions) -> dict[str, float]:
    counts = count_classes(predictions)
    if counts is None or not isinstance(predictions.task, Multilabel):
        return {}
    by_class, overall = _precision_recall_f1(counts), _precision_recall_f1(counts.pooled())
    letters = {"P": "precision", "R": "recall", "F": "f1"}
    return {f"{letter}_C": float(by_class[name].mean()) for letter, name in letters.items()} | {
        f"{letter}_O": float(overall[name].item()) for letter, name in letters.items()
    }


def _precision_recall_f1(counts: ClassCounts) -> dict[str, Float[np.ndarray, " k"]]:
    """Return precision, recall and F1 by class; if nothing is counted they are 0, as in the literature."""
    shares = {"precision": counts.precision, "recall": counts.recall, "f1": counts.f1}
    return {name: np.nan_to_num(values, nan=0.0) for name, values in shares.items()}
