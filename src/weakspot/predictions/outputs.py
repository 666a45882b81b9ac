"""Conversion of a model's outputs, logits or probabilities, to logits."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Shaped

from weakspot.legible import row_name
from weakspot.tasks import Classification, Multilabel, Regression, Task

KINDS = ("logits", "probabilities")
_ROUNDING = 1e-2  # tolerance of a row's sum: half-precision softmax of many classes is off by nearly as much


def check_kind(outputs_are: str | None) -> None:
    """Raise ValueError for an unknown kind of outputs."""
    if outputs_are not in (None, *KINDS):
        raise ValueError(f"outputs_are={outputs_are!r} is unknown; choose {' or '.join(KINDS)}")


def as_logits(
    outputs: Float[np.ndarray, "n given"], task: Task, outputs_are: str | None, ids: Shaped[np.ndarray, " n"]
) -> Float[np.ndarray, "n C"]:
    """Return outputs as logits with a column for each class of the task, (n, C).

    A single column for two classes is the logit of the second, z, and becomes (0, z). Probabilities become logits
    that give the same probabilities.

    Args:
        outputs: Finite numbers, in the model's order of classes.
        task: The task that has these classes. A regression's outputs are numbers and stay unchanged.
        outputs_are: "logits", "probabilities", or None, which assumes logits unless outputs look like
            probabilities.
        ids: Ids of the rows, for errors.

    Raises:
        ValueError: Outputs look like probabilities and `outputs_are` is None, or `outputs_are` says probabilities and
            they are not.
    """
    one_column = isinstance(task, Classification) and outputs.shape[1] == 1 and task.n_outputs == 2
    if outputs_are == "probabilities":
        outputs = _logits_of(outputs, task, one_column, ids)
    elif outputs_are is None and (reason := _looks_like_probabilities(outputs, task, one_column)):
        raise ValueError(
            f"outputs look like probabilities, not logits ({reason}): say outputs_are=probabilities, or "
            "outputs_are=logits if they are logits after all"
        )
    return np.hstack([np.zeros_like(outputs), outputs]) if one_column else outputs


def _looks_like_probabilities(outputs: np.ndarray, task: Task, one_column: bool) -> str | None:
    """Return why outputs look like probabilities, as a clause, or None if they do not."""
    if not isinstance(task, (Classification, Multilabel)) or outputs.min() < 0 or outputs.max() > 1:
        return None
    if one_column or isinstance(task, Multilabel):
        return "all of them lie between 0 and 1"
    return "every row sums to 1" if _sums_to_one(outputs).all() else None


def _logits_of(outputs: np.ndarray, task: Task, one_column: bool, ids: np.ndarray) -> np.ndarray:
    """Return logits whose softmax, or sigmoid for independent columns, gives these probabilities."""
    if not isinstance(task, (Classification, Multilabel)):
        reason = (
            "its outputs are the predicted numbers" if isinstance(task, Regression) else "it has no classes"
        )
        raise ValueError(f"probabilities do not fit a {task.kind} task: {reason}")
    outside = ((outputs < 0) | (outputs > 1 + _ROUNDING)).any(axis=1)
    independent = one_column or isinstance(task, Multilabel)
    if not independent:
        outside |= ~_sums_to_one(outputs)
    if outside.any():
        row = int(np.argmax(outside))
        rule = "lie between 0 and 1" if independent else "lie between 0 and 1 and sum to 1"
        raise ValueError(
            f"outputs: {row_name(row, ids)} is {_format_row(outputs[row])}, but probabilities {rule}; "
            "are they logits?"
        )
    smallest = np.finfo(np.float32).tiny
    logits: np.ndarray = np.log(np.maximum(outputs, smallest))
    return logits - np.log(np.maximum(1 - outputs, smallest)) if independent else logits


def _sums_to_one(outputs: np.ndarray) -> np.ndarray:
    close: np.ndarray = np.abs(outputs.sum(axis=1, dtype=np.float64) - 1) <= _ROUNDING
    return close


def _format_row(row: np.ndarray) -> str:
    texts = [f"{value:.4g}" for value in row[:5]]
    return f"[{', '.join(texts)}{', …' if len(row) > 5 else ''}]"
