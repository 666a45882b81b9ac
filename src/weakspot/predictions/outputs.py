"""A model's outputs as logits, whatever they came as."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Shaped

from weakspot.tasks import Classification, Multilabel, Regression, Task

KINDS = ("logits", "probabilities")
_ROUNDING = 1e-2  # of a row's sum: half-precision softmax of many classes is off by nearly as much


def as_logits(
    outputs: Float[np.ndarray, "n given"], task: Task, outputs_are: str | None, ids: Shaped[np.ndarray, " n"]
) -> Float[np.ndarray, "n C"]:
    """Outputs as the task reads them: logits, a column for each class.

    A single column for two classes is the logit of the second, z, read as (0, z). Probabilities become logits of the
    same probabilities.

    Args:
        outputs: Finite numbers, in the model's order of classes.
        task: Whose classes they are. A regression's outputs are numbers and stay as they are.
        outputs_are: "logits", "probabilities", or None, which takes them for logits unless they look like
            probabilities.
        ids: Names of the rows, for errors.

    Raises:
        ValueError: They look like probabilities and nobody says that they are, or they are none where somebody does.
    """
    if outputs_are not in (None, *KINDS):
        raise ValueError(f"outputs_are={outputs_are!r} is unknown; choose {' or '.join(KINDS)}")
    lone = isinstance(task, Classification) and outputs.shape[1] == 1 and task.n_outputs == 2
    if outputs_are == "probabilities":
        outputs = _logits_of(outputs, task, lone, ids)
    elif outputs_are is None and (sign := _looks_like_probabilities(outputs, task, lone)):
        raise ValueError(
            f"outputs look like probabilities, not logits ({sign}): say outputs_are=probabilities, or "
            "outputs_are=logits if they are logits all the same"
        )
    return np.hstack([np.zeros_like(outputs), outputs]) if lone else outputs


def _looks_like_probabilities(outputs: np.ndarray, task: Task, lone: bool) -> str | None:
    """The sign of it, in words."""
    if not isinstance(task, (Classification, Multilabel)) or outputs.min() < 0 or outputs.max() > 1:
        return None
    if lone or isinstance(task, Multilabel):
        return "all of them lie between 0 and 1"
    return "every row sums to 1" if _sums_to_one(outputs).all() else None


def _logits_of(outputs: np.ndarray, task: Task, lone: bool, ids: np.ndarray) -> np.ndarray:
    """Logits whose softmax, or sigmoid where each column stands for itself, these probabilities are."""
    if not isinstance(task, (Classification, Multilabel)):
        reason = (
            "its outputs are the predicted numbers" if isinstance(task, Regression) else "it has no classes"
        )
        raise ValueError(f"outputs_are=probabilities does not fit a {task.kind} task: {reason}")
    outside = ((outputs < 0) | (outputs > 1 + _ROUNDING)).any(axis=1)
    alone = lone or isinstance(task, Multilabel)
    if not alone:
        outside |= ~_sums_to_one(outputs)
    if outside.any():
        row = int(np.argmax(outside))
        wanted = "lie between 0 and 1" if alone else "lie between 0 and 1 and sum to 1"
        raise ValueError(
            f"outputs: row {row} (id {ids[row]}) is {_shown(outputs[row])}, but probabilities {wanted}; "
            "are they logits?"
        )
    least = np.finfo(np.float32).tiny
    logits: np.ndarray = np.log(np.maximum(outputs, least))
    return logits - np.log(np.maximum(1 - outputs, least)) if alone else logits


def _sums_to_one(outputs: np.ndarray) -> np.ndarray:
    close: np.ndarray = np.abs(outputs.sum(axis=1, dtype=np.float64) - 1) <= _ROUNDING
    return close


def _shown(row: np.ndarray) -> str:
    texts = [f"{value:.4g}" for value in row[:5]]
    return f"[{', '.join(texts)}{', …' if len(row) > 5 else ''}]"
