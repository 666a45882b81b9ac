"""What a slice's weights say of it: size, loss and accuracy inside and outside, labels against predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from weakspot.predictions import Predictions
from weakspot.tasks import Classification


def describe(weights: Float[np.ndarray, "k n"], predictions: Predictions) -> list[dict[str, Any]]:
    """Statistics of every slice, as plain values.

    With c the counts and w the weights of a slice, *inside* averages with c·w and *outside* with c·(1 - w).

    size         Σ c·w, in examples;  share: of Σ c;  members: how many examples have any weight
    loss_inside, loss_outside, accuracy_inside, accuracy_outside: None where the record lacks them
    confusion    the weight by label and prediction, heaviest first (single-label tasks)
    """
    counts = (
        np.ones(len(predictions)) if predictions.counts is None else predictions.counts.astype(np.float64)
    )
    return [_describe(np.asarray(w, dtype=np.float64), counts, predictions) for w in weights]


def _describe(w: np.ndarray, counts: np.ndarray, predictions: Predictions) -> dict[str, Any]:
    inside, outside = counts * w, counts * (1 - w)
    size = float(inside.sum())

    def mean(values: np.ndarray | None, mass: np.ndarray) -> float | None:
        total = mass.sum()
        return None if values is None or total <= 0 else float(mass @ values.astype(np.float64) / total)

    return {
        "size": size,
        "share": size / float(counts.sum()),
        "members": int((w > 0).sum()),
        "loss_inside": mean(predictions.losses, inside),
        "loss_outside": mean(predictions.losses, outside),
        "accuracy_inside": mean(predictions.correct, inside),
        "accuracy_outside": mean(predictions.correct, outside),
        "confusion": _confusion(inside, predictions),
    }


def _confusion(inside: np.ndarray, predictions: Predictions) -> list[dict[str, Any]]:
    labels, guesses, classes = predictions.labels, predictions.predictions, predictions.classes()
    if labels is None or guesses is None or not isinstance(predictions.task, Classification):
        return []
    width = len(classes)
    codes = labels.astype(np.int64) * width + guesses
    cells, position = np.unique(
        codes, return_inverse=True
    )  # those that occur: classes² may not fit in memory
    weight = np.bincount(position, weights=inside, minlength=len(cells))
    heaviest = [at for at in np.argsort(-weight, kind="stable") if weight[at] > 0]
    return [
        {
            "label": classes[cells[at] // width],
            "prediction": classes[cells[at] % width],
            "weight": float(weight[at]),
        }
        for at in heaviest
    ]
