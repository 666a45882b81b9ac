"""Computes the map that `weakspot.figures` draws: where examples lie, their colours, and the slices that stand out.

It is here because figures compute nothing. The report's map is in `weakspot.findings.map`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Num

from weakspot.explain.projection import projection
from weakspot.methods.registry import method_of
from weakspot.predictions import Predictions
from weakspot.slices import Slices
from weakspot.tasks import Classification, Rating, Regression

_CLIP_QUANTILE = 0.99  # quantile of the losses at which the colour scale ends


@dataclass(frozen=True, eq=False)
class PointColouring:
    """Holds what points are coloured by.

    Attributes:
        kind: "class" for codes of classes, "probability", or "amount" for any other number.
        label: The title of the scale.
        values: (n,) one value for each example; for classes, the position in `names`, with one more position for all
            others.
        low, high: The ends of the scale.
        names: The class that a probability refers to, or the classes that are distinguished.
        others: Whether there are examples of further classes.
    """

    kind: Literal["amount", "probability", "class"]
    label: str
    values: Num[np.ndarray, " n"]
    low: float
    high: float
    names: tuple[str, ...] = ()
    others: bool = False


@dataclass(frozen=True, eq=False)
class HighlightedSlice:
    """A slice that is highlighted in the map.

    Attributes:
        name: The name that the method gives it.
        size: Its size in examples.
        weights: (n,) how much each example belongs to it.
    """

    name: str
    size: float
    weights: Float[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class ColouredMap:
    """Holds all that a map of n examples shows.

    Attributes:
        positions: (n, 2) where each example lies.
        colouring: What it is coloured by.
        drawing_order: (n,) points with higher values are drawn on top; the losses, if known.
        highlighted: The first slices.
    """

    positions: Float[np.ndarray, "n 2"]
    colouring: PointColouring
    drawing_order: Num[np.ndarray, " n"]
    highlighted: tuple[HighlightedSlice, ...]


def build_coloured_map(
    predictions: Predictions,
    slices: Slices | None,
    by: str,
    most_slices: int,
    most_classes: int,
    positions: Float[np.ndarray, "n 2"] | None = None,
) -> ColouredMap:
    """Make the map of all examples by loss or by prediction.

    Args:
        predictions: The n examples.
        slices: Slices of the same examples.
        by: "loss" or "prediction", as for `point_colouring`.
        most_slices: How many slices are highlighted.
        most_classes: How many classes are distinguished, as for `point_colouring`.
        positions: (n, 2) where each example lies; by default its first two principal components.

    Returns:
        The map.

    Raises:
        ValueError: If the predictions do not hold what to colour by.
    """
    colouring = point_colouring(predictions, by, most_classes)
    return ColouredMap(
        positions=projection(predictions.embeddings) if positions is None else np.asarray(positions),
        colouring=colouring,
        drawing_order=colouring.values if predictions.losses is None else predictions.losses,
        highlighted=() if slices is None else _highlight(predictions, slices, most_slices),
    )


def can_colour_by(predictions: Predictions, by: str) -> bool:
    """Return whether predictions hold the values to colour a map by."""
    try:
        point_colouring(predictions, by, 1)
    except ValueError:
        return False
    return True


def point_colouring(predictions: Predictions, by: str, most_classes: int) -> PointColouring:
    """Choose the values that examples are coloured by, and their scale.

    Args:
        predictions: The n examples.
        by: "loss", or "prediction": for two classes the probability of the second, for more classes the class, for
            ratings and numbers the expected value.
        most_classes: How many classes are distinguished: those predicted most often.

    Returns:
        The values and their scale.

    Raises:
        ValueError: If the predictions do not hold what to colour by.
    """
    p = predictions
    if by == "loss":
        if p.losses is None:
            raise ValueError("these predictions hold no losses to colour a map by")
        values = p.losses.astype(np.float64)
        return _amounts("Loss", values, min(0.0, float(values.min())))
    if by != "prediction":
        raise ValueError(f"a map is coloured by loss or by prediction, not by {by!r}")
    task, guesses = p.task, p.predictions
    if isinstance(task, Regression) and guesses is not None:
        return _amounts("Predicted number", guesses.astype(np.float64))
    if isinstance(task, Rating) and p.outputs is not None:
        import torch

        expected = np.asarray(task.estimate(torch.tensor(p.outputs))) + float(task.classes[0])
        return _amounts("Expected rating", expected)
    if type(task) is Classification and len(task.classes) == 2 and p.outputs is not None:
        first, second = p.outputs.astype(np.float64).T
        probability = 1 / (1 + np.exp(np.clip(first - second, -700, 700)))
        return PointColouring("probability", "Probability", probability, 0.0, 1.0, task.classes[1:])
    if isinstance(task, Classification) and guesses is not None:
        return _classes(task.classes, guesses, most_classes)
    raise ValueError("these predictions are neither classes nor numbers, so a map is not coloured by them")


def _highlight(predictions: Predictions, slices: Slices, most: int) -> tuple[HighlightedSlice, ...]:
    noun = method_of(slices).noun
    size = predictions.row_counts
    groups = [np.asarray(slices.weights[j]) for j in range(min(most, len(slices)))]
    return tuple(
        HighlightedSlice(f"{noun} {j}", float(size @ weights), weights) for j, weights in enumerate(groups, 1)
    )


def _amounts(label: str, values: Float[np.ndarray, " n"], low: float | None = None) -> PointColouring:
    """Scale numbers; one in a hundred lies above the scale, and one in a hundred below unless its low end is given."""
    low = float(np.quantile(values, 1 - _CLIP_QUANTILE)) if low is None else low
    high = float(np.quantile(values, _CLIP_QUANTILE))
    return PointColouring("amount", label, values, low, high if high > low else low + 1)


def _classes(classes: tuple[str, ...], guesses: Num[np.ndarray, " n"], most: int) -> PointColouring:
    found = np.bincount(guesses, minlength=len(classes))
    common = [int(c) for c in np.argsort(-found, kind="stable")[:most] if found[c] > 0]
    codes = np.full(len(classes), len(common))
    codes[common] = range(len(common))
    names = tuple(classes[c] for c in common)
    others = bool((found > 0).sum() > len(common))
    return PointColouring("class", "Predicted class", codes[guesses], 0.0, float(len(common)), names, others)
