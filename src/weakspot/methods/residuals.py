"""Residuals: bounded losses, so that no single loss outweighs a group of examples."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.special import log_softmax
from scipy.stats import rankdata

from weakspot.methods.distributed import SINGLE_PROCESS, ProcessGroup
from weakspot.predictions import Predictions
from weakspot.tasks import Classification, Multilabel

_UNIT_QUANTILE = 0.95  # the quantile of the errors of ratings and numbers that counts as 1


def residuals(p: Predictions, processes: ProcessGroup = SINGLE_PROCESS) -> Float[np.ndarray, " n"]:
    """Return how wrong the model is on each example.

    For a classification it is 1 - p of the label; for a multilabel task the mean of that over the categories; for
    ratings and numbers the absolute error divided by its 95 % quantile, at most 1. Without outputs it is 1 - exp(-loss)
    for a classification, which is the same; otherwise the rank of the loss, or else whether the example is wrong.

    Args:
        p: The n examples that this process holds.
        processes: The processes; the quantile and the ranks are taken over the examples of all.

    Returns:
        (n,) in [0, 1].

    Raises:
        ValueError: If the predictions hold neither outputs with labels, nor losses, nor correctness.
    """
    if p.task is not None and not p.task.by_accuracy and p.labels is not None:
        errors = p.task.unit_errors(p.outputs, p.predictions, p.labels)
        unit = float(np.quantile(processes.gather(errors), _UNIT_QUANTILE)) or 1.0
        shares = errors / unit
        return np.minimum(np.sqrt(shares) if p.task.squares_errors else shares, 1.0)
    if p.outputs is not None and p.labels is not None and type(p.task) is Classification:
        outputs = np.asarray(p.outputs, dtype=np.float64)
        if outputs.shape[1] > 1:
            log_likelihood = log_softmax(outputs, axis=1)[np.arange(len(p)), p.labels]
            return np.asarray(-np.expm1(log_likelihood))
    if p.outputs is not None and p.labels is not None and isinstance(p.task, Multilabel):
        wrong = np.where(p.labels > 0, -1.0, 1.0) * np.asarray(p.outputs, dtype=np.float64)
        return np.asarray((1 / (1 + np.exp(-np.clip(wrong, -50, 50)))).mean(axis=1))
    if p.losses is not None and type(p.task) is Classification and -processes.max(-p.losses.min()) >= 0:
        return -np.expm1(-p.losses.astype(np.float64))
    if p.losses is not None:
        losses, start = processes.gather(p.losses), processes.rows_before(len(p))
        ranks: np.ndarray = (rankdata(losses) - 1) / max(1, len(losses) - 1)
        return ranks[start : start + len(p)]
    if p.correct is not None:
        return 1.0 - p.correct.astype(np.float64)
    raise ValueError(
        "slices are found by outputs, losses, or which examples are right, and these predictions hold none of them; "
        "give outputs and labels, or losses"
    )


def label_codes(p: Predictions) -> Int[np.ndarray, " n"]:
    """Return the labels (n,) within which examples are compared: their classes, or all 0 if labels are not classes."""
    if p.labels is not None and type(p.task) is Classification:
        return np.asarray(p.labels, dtype=np.int64)
    return np.zeros(len(p), dtype=np.int64)
