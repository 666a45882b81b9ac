"""How well a model did on a split, in the task's own measures."""

from __future__ import annotations

from weakspot.predictions import Predictions


def score(predictions: Predictions) -> dict[str, float]:
    """Mean loss, accuracy and, where it is another number, the task's measure (f1, rmse, exact_match)."""
    import torch

    found: dict[str, float] = {}
    if predictions.losses is not None:
        found["loss"] = float(predictions.losses.mean())
    task = predictions.task
    if predictions.accuracy is not None:
        found["exact_match" if task and task.kind == "question_answering" else "accuracy"] = (
            predictions.accuracy
        )
    if task is not None and task.measure not in found and predictions.outputs is not None:
        metric = task.metric()
        metric.update(task.estimate(torch.tensor(predictions.outputs)), torch.tensor(predictions.labels))
        found[task.measure] = float(metric.compute())
    return found
