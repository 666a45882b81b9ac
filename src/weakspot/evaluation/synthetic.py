"""Synthetic predictions whose true slices are known, to measure false confirmations and power of the tests."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from weakspot.predictions import Predictions
from weakspot.tasks import Classification

Kind = Literal["independent", "label"]

_CLASSES, _PARTS, _DIMENSIONS = 5, 4, 32
_ERROR_RATE = 0.2


def null_predictions(kind: Kind, n: int, seed: int) -> Predictions:
    """Make predictions without any slice: given the label, losses do not depend on embeddings.

    Embeddings are four Gaussian groups for each of 5 labels, in 32 dimensions.

    Args:
        kind: "independent": every label is mistaken in a fifth of its rows. "label": labels are mistaken in
            5 % to 50 % of their rows, so that regions of high loss exist and the label explains all of them.
        n: rows; those of one seed are independent of each other, so any split of them may be searched and
            tested.
        seed: of all random choices.
    """
    random = np.random.default_rng(seed)
    labels, _, embeddings = _embedded(n, random)
    rates = np.full(_CLASSES, _ERROR_RATE) if kind == "independent" else np.linspace(0.05, 0.5, _CLASSES)
    return _answered(labels, embeddings, random.random(n) < rates[labels], random)


def planted_predictions(times: float, n: int, seed: int) -> tuple[Predictions, Bool[np.ndarray, " n"]]:
    """Make predictions with one slice: a group of one label, a twentieth of the rows, is misclassified more often.

    Args:
        times: how many times as often as all other rows, of which a fifth are mistaken; at most 5.
        n: rows.
        seed: of all random choices.

    Returns:
        The predictions, and (n,) which rows are in the slice.
    """
    random = np.random.default_rng(seed)
    labels, parts, embeddings = _embedded(n, random)
    planted = (labels == 0) & (parts == 0)
    rates = np.where(planted, times * _ERROR_RATE, _ERROR_RATE)
    return _answered(labels, embeddings, random.random(n) < rates, random), planted


def _embedded(
    n: int, random: np.random.Generator
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Float[np.ndarray, "n d"]]:
    """Draw labels, the group of each row within its label, and embeddings."""
    labels, parts = random.integers(0, _CLASSES, n), random.integers(0, _PARTS, n)
    labelled = random.normal(size=(_CLASSES, _DIMENSIONS))
    parted = random.normal(size=(_CLASSES, _PARTS, _DIMENSIONS))
    centres = labelled[:, None] + 0.7 * parted
    return labels, parts, centres[labels, parts] + random.normal(size=(n, _DIMENSIONS))


def _answered(
    labels: Int[np.ndarray, " n"],
    embeddings: Float[np.ndarray, "n d"],
    mistaken: Bool[np.ndarray, " n"],
    random: np.random.Generator,
) -> Predictions:
    """Draw logits that favour the label, or another class where a row is mistaken, with varying margins."""
    n = len(labels)
    favoured = np.where(mistaken, (labels + random.integers(1, _CLASSES, n)) % _CLASSES, labels)
    outputs = random.normal(size=(n, _CLASSES))
    outputs[np.arange(n), favoured] = outputs.max(axis=1) + random.exponential(2.0, n)
    return Predictions.from_arrays(
        embeddings, labels=labels, outputs=outputs, task=Classification(tuple(map(str, range(_CLASSES))))
    )
