"""How badly the model does on each example, bounded, so that no single loss outweighs a group."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.special import log_softmax
from scipy.stats import rankdata

from weakspot.methods.distributed import SINGLE_PROCESS, ProcessGroup
from weakspot.predictions import Predictions
from weakspot.tasks import Classification, Multilabel

_UNIT_QUANTILE = 0.95  # of the errors of numbers: the error there counts as 1


def residuals(p: Predictions, processes: ProcessGroup = SINGLE_PROCESS) -> Float[np.ndarray, " n"]:
    """Return how much of the answer to each example is wrong.

    For a classification it is 1 - p of the label; for several labels the mean of that over the categories; for
    ratings and numbers the absolute error over its 95 % quantile, at most 1. Without outputs it is 1 - exp(-loss) of
    a classification, which is the same, or else the ranks of the losses, or whether the answer is wrong.

    Args:
        p: The n examples that this process holds.
        processes: The processes; quantile and ranks are among the examples of all of them.

    Returns:
        (n,) in [0, 1].

    Raises:
        ValueError: If the predictions hold nothing that tells good from bad.
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
    """Return the labels (n,) within which examples are compared: their classes, and all 0 where labels are none."""
    if p.labels is not None and type(p.task) is Classification:
        return np.asarray(p.labels, dtype=np.int64)
    return np.zeros(len(p), dtype=np.int64)
