"""Turns columns of scores, on a scale from worst to best, into losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

NAMES = ("score", "score_worst", "score_best")
"""The columns of scores and of the ends of their scale, by default 0 and 1; the worst may be the higher number."""

PASSING = 0.5
"""A score counts as correct at or above this share of its scale."""


def determines_losses(fields: Mapping[str, Any]) -> bool:
    """Return whether a record's other columns determine the losses, so that a column `score` is only an attribute.

    Args:
        fields: The columns, by their argument of `Predictions.from_arrays`.
    """
    return "losses" in fields or "outputs" in fields or {"labels", "predictions"} <= fields.keys()


def losses_of_scores(
    scores: Any, worst: Any = 0.0, best: Any = 1.0
) -> tuple[Float[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Return losses between 0 and 1, and whether each score counts as correct.

    The loss is 1 − score, with the score rescaled to 0 (worst) to 1 (best).

    Args:
        scores: (n,) numbers or truth values.
        worst: The worst possible score, one for all or (n,).
        best: The best possible score, one for all or (n,).

    Raises:
        ValueError: A value is not a finite number or lies outside its scale, or a scale has zero length; the error
            names the row.
    """
    try:
        score, low, high = (np.asarray(values, dtype=np.float64) for values in (scores, worst, best))
    except ValueError as error:
        raise ValueError(f"'score' is a number on a scale, not a text: {error}") from error
    low, high = np.broadcast_to(low, score.shape), np.broadcast_to(high, score.shape)
    with np.errstate(all="ignore"):
        length = high - low
        share = (score - low) / length
    # on an infinite scale every finite score would be the worst
    wrong = ~(np.isfinite(length) & np.isfinite(share) & (share >= 0) & (share <= 1))
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"'score' is {score[row]:g} in row {row}, outside its scale from {low[row]:g} (worst) to {high[row]:g} "
            "(best); give the scale as columns 'score_worst' and 'score_best', or rename the column if it is an "
            "attribute"
        )
    return 1 - share, share >= PASSING
