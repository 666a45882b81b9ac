"""How well a model did on a split, in the task's own measures."""

from __future__ import annotations

from weakspot.datasets.base import Dataset
from weakspot.predictions import Predictions


def score(predictions: Predictions, dataset: Dataset) -> dict[str, float]:
    """Mean loss, accuracy, the task's measure where it is another number (f1, rmse), and what the dataset alone
    can tell (exact match and F1 of answers).
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
    return found | told
