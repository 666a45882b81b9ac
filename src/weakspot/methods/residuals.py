"""How badly the model does on each example, bounded, so that no single loss outweighs a group."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.special import log_softmax
from scipy.stats import rankdata

from weakspot.methods.distributed import ALONE, World
from weakspot.predictions import Predictions
from weakspot.tasks import Classification, Multilabel

_WIDE = 0.95  # quantile of the errors of numbers that counts as one


def residuals(p: Predictions, world: World = ALONE) -> Float[np.ndarray, " n"]:
    """In [0, 1]: how much of the answer is wrong.

    Classification: 1 - p of the label. Several labels: the mean of that over the categories. Ratings and numbers: the
    absolute error over its 95 % quantile. Without outputs: 1 - exp(-loss) of a classification, which is the same; the
    errors; or the ranks of the losses. Quantile and ranks are among the examples of all processes.

    Raises:
        ValueError: If nothing tells good from bad.
    """
    if p.task is not None and not p.task.by_accuracy and p.labels is not None:
        errors = p.task.unit_errors(p.outputs, p.predictions, p.labels)
        wide = float(np.quantile(world.gather(errors), _WIDE)) or 1.0
        return np.minimum(np.sqrt(errors / wide), 1.0)
    if p.outputs is not None and p.labels is not None and type(p.task) is Classification:
        outputs = np.asarray(p.outputs, dtype=np.float64)
        if outputs.shape[1] > 1:
            known = log_softmax(outputs, axis=1)[np.arange(len(p)), p.labels]
            return np.asarray(-np.expm1(known))
    if p.outputs is not None and p.labels is not None and isinstance(p.task, Multilabel):
        wrong = np.where(p.labels > 0, -1.0, 1.0) * np.asarray(p.outputs, dtype=np.float64)
        return np.asarray((1 / (1 + np.exp(-np.clip(wrong, -50, 50)))).mean(axis=1))
    if p.losses is not None and type(p.task) is Classification and -world.largest(-p.losses.min()) >= 0:
        return -np.expm1(-p.losses.astype(np.float64))
    if p.losses is not None:
        losses, start = world.gather(p.losses), world.before(len(p))
        ranks: np.ndarray = (rankdata(losses) - 1) / max(1, len(losses) - 1)
        return ranks[start : start + len(p)]
    if p.correct is not None:
        return 1.0 - p.correct.astype(np.float64)
    raise ValueError(
        "slices are sought by outputs, losses, or which examples are right; these predictions hold none of them"
    )


def groups(p: Predictions) -> Int[np.ndarray, " n"]:
    """Codes of the labels within which examples are compared: classes, and all alike where labels are no classes."""
    if p.labels is not None and type(p.task) is Classification:
        return np.asarray(p.labels, dtype=np.int64)
    return np.zeros(len(p), dtype=np.int64)
