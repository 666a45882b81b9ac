"""The map of all examples with what each is coloured by, and the slices that are lit in it."""

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

_CLIPPED = 0.99  # of the losses: the colours end where one in a hundred begins


@dataclass(frozen=True, eq=False)
class Shade:
    """What points are coloured by.

    Attributes:
        kind: "class" of codes of classes, "probability", or "amount" of any other number.
        label: What it is, in words.
        values: (n,) one for each example; of classes their positions in `names`, and one more for all others.
        low, high: The ends of the scale.
        names: Of a probability the class that it is of, of classes those that are told apart.
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
class Lit:
    """A slice that is lit in the map.

    Attributes:
        name: What the method calls it.
        size: In examples.
        weights: (n,) how much each example belongs to it.
    """

    name: str
    size: float
    weights: Float[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class ShadedMap:
    """All that a map shows.

    Attributes:
        at: Where each example lies.
        shade: What it is coloured by.
        height: (n,) what is drawn on top of the rest: the highest losses, where they are known.
        lit: The first slices.
    """

    at: Float[np.ndarray, "n 2"]
    shade: Shade
    height: Num[np.ndarray, " n"]
    lit: tuple[Lit, ...]


def shaded_map(
    predictions: Predictions,
    slices: Slices | None,
    by: str,
    most_slices: int,
    most_classes: int,
    at: Float[np.ndarray, "n 2"] | None = None,
) -> ShadedMap:
    """The map of all examples by loss or by prediction.

    Args:
        predictions: The record.
        slices: Of the same examples.
        by: As for `shade_of`.
        most_slices: How many slices are lit.
        most_classes: As for `shade_of`.
        at: Where each example lies; by default its first two principal components.

    Returns:
        The map.

    Raises:
        ValueError: If the record does not hold what to colour by.
    """
    shade = shade_of(predictions, by, most_classes)
    return ShadedMap(
        at=projection(predictions.embeddings) if at is None else np.asarray(at),
        shade=shade,
        height=shade.values if predictions.losses is None else predictions.losses,
        lit=() if slices is None else _lit(predictions, slices, most_slices),
    )


def can_shade(predictions: Predictions, by: str) -> bool:
    """Whether the record holds what to colour by."""
    try:
        shade_of(predictions, by, 1)
    except ValueError:
        return False
    return True


def shade_of(predictions: Predictions, by: str, most_classes: int) -> Shade:
    """What to colour the examples by.

    Args:
        predictions: The record.
        by: "loss", or "prediction": of two classes the probability of the second, of more classes the class, of
            ratings and numbers what is expected.
        most_classes: How many classes are told apart, those most often predicted.

    Returns:
        The shade.

    Raises:
        ValueError: If the record does not hold what to colour by.
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
        return Shade("probability", "Probability", probability, 0.0, 1.0, task.classes[1:])
    if isinstance(task, Classification) and guesses is not None:
        return _classes(task.classes, guesses, most_classes)
    raise ValueError("these predictions are neither classes nor numbers, so a map is not coloured by them")


def _lit(predictions: Predictions, slices: Slices, most: int) -> tuple[Lit, ...]:
    noun = method_of(slices).noun
    size = np.ones(len(predictions)) if predictions.counts is None else predictions.counts
    groups = [np.asarray(slices.weights[j]) for j in range(min(most, len(slices)))]
    return tuple(Lit(f"{noun} {j}", float(size @ weights), weights) for j, weights in enumerate(groups, 1))


def _amounts(label: str, values: Float[np.ndarray, " n"], low: float | None = None) -> Shade:
    """Numbers, the scale of which leaves out one in a hundred at the upper end, and at the lower unless it is given."""
    low = float(np.quantile(values, 1 - _CLIPPED)) if low is None else low
    high = float(np.quantile(values, _CLIPPED))
    return Shade("amount", label, values, low, high if high > low else low + 1)


def _classes(classes: tuple[str, ...], guesses: Num[np.ndarray, " n"], most: int) -> Shade:
    found = np.bincount(guesses, minlength=len(classes))
    common = [int(c) for c in np.argsort(-found, kind="stable")[:most] if found[c] > 0]
    codes = np.full(len(classes), len(common))
    codes[common] = range(len(common))
    names = tuple(classes[c] for c in common)
    others = bool((found > 0).sum() > len(common))
    return Shade("class", "Predicted class", codes[guesses], 0.0, float(len(common)), names, others)
