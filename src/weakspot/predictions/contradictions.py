"""Warnings about arrays that contradict each other, as after a join whose rows are in another order."""

from __future__ import annotations

import logging

import numpy as np
from jaxtyping import Bool, Float, Num

from weakspot.tasks import Classification, Task

log = logging.getLogger(__name__)

_FEW = 0.1  # share of the rows: a threshold other than the largest output explains as many
_MOST = 0.8  # of the rows: from here on, `correct` says the opposite


def warn_of_contradictions(
    task: Task | None,
    labels: Num[np.ndarray, "n ..."] | None,
    predictions: Num[np.ndarray, "n ..."] | None,
    outputs: Float[np.ndarray, "n c"] | None,
    correct: Bool[np.ndarray, " n"] | None,
    losses: Float[np.ndarray, " n"] | None,
) -> None:
    """Log a warning for arrays that are valid each by itself and hardly belong together.

    Args:
        task: The task.
        labels, predictions: (n,) or (n, C), in the task's format.
        outputs: (n, C) the logits.
        correct: (n,) whether the model is right.
        losses: (n,)
    """
    if isinstance(task, Classification) and predictions is not None and outputs is not None:
        share = float(np.mean(outputs.argmax(axis=1) != predictions))
        if share > _FEW:
            log.warning(
                "predictions are not the class of the largest output in %.0f %% of the rows: are all columns in the "
                "same order?",
                100 * share,
            )
    if isinstance(task, Classification) and labels is not None and predictions is not None:
        same = labels == predictions
        share = 0.0 if correct is None else float(np.mean(correct != same))
        if share > _MOST and same.mean() > _FEW:  # free texts are hardly ever equal, and may be right
            log.warning(
                "correct says the opposite of labels and predictions in %.0f %% of the rows: is 1 right in it?",
                100 * share,
            )
    if losses is not None and losses.max() <= 0 and losses.min() < 0:
        log.warning(
            "all losses are 0 or negative, and a slice is searched for where losses are high: if these are log "
            "likelihoods, give their negatives"
        )
