"""What a slice's weights say of it: size, loss and accuracy inside and outside, labels against predictions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int

from weakspot.predictions import Predictions
from weakspot.slices.memberships import Weights
from weakspot.tasks import Classification


@dataclass(frozen=True)
class ConfusionCell:
    """The weight of a slice's examples that have this label and this prediction."""

    label: str
    prediction: str
    weight: float


@dataclass(frozen=True)
class AttributeShare:
    """How common an attribute's value, or a category, is inside and among all; None where a file does not say."""

    name: str
    share: float | None = None
    overall: float | None = None


@dataclass(frozen=True)
class Nearest:
    """The well-served cluster nearest to a failing one.

    sense     near by mean embedding, or by the distribution of the attributes
    members   rows of the record, the closest to the failing cluster first
    """

    sense: Literal["embedding", "attributes"]
    node: int
    size: float
    accuracy: float
    distance: float
    members: tuple[int, ...]


@dataclass(frozen=True)
class ClusterStatistics:
    """What is known of a slice that is a cluster of a tree, besides its `SliceStatistics`.

    cluster, node      its number in the cut and in the linkage
    wrong              how many of its examples the model gets wrong
    wrong_confidence   mean confidence of these
    f1                 single-label: mean over classes, weighted by their labels; multilabel: over all
                       categories together
    f1_macro           multilabel: mean over all categories
    f1_category        of the audited category
    top_attributes     the values most over-represented against all audited examples
    nearest            at most one cluster for each sense of near
    co_predicted       multilabel: the categories most often predicted along with the audited one
    """

    cluster: int
    node: int
    accuracy: float
    wrong: float
    loss: float | None = None
    confidence: float | None = None
    wrong_confidence: float | None = None
    f1: float | None = None
    f1_macro: float | None = None
    f1_category: float | None = None
    top_attributes: tuple[AttributeShare, ...] = ()
    nearest: tuple[Nearest, ...] = ()
    co_predicted: tuple[AttributeShare, ...] = ()

    def moved(self, rows: Int[np.ndarray, " m"]) -> ClusterStatistics:
        """The same cluster in a record where row i of this one stands at rows[i], or nowhere (-1)."""
        return replace(
            self, nearest=tuple(replace(one, members=moved(one.members, rows)) for one in self.nearest)
        )


@dataclass(frozen=True)
class SliceStatistics:
    """Numbers of one slice; None where the record lacks what they are made of.

    With c the counts and w the weights of a slice, *inside* averages with c·w and *outside* with c·(1 - w).

    size       Σ c·w, in examples;  share: of Σ c;  members: how many examples have any weight
    confusion  the weight by label and prediction, heaviest first (single-label tasks)
    cluster    of a method that clusters
    """

    size: float
    share: float
    members: int
    loss_inside: float | None
    loss_outside: float | None
    accuracy_inside: float | None
    accuracy_outside: float | None
    confusion: tuple[ConfusionCell, ...] = ()
    cluster: ClusterStatistics | None = None


def describe(
    weights: Weights,
    predictions: Predictions,
    audited: Bool[np.ndarray, " n"] | None = None,
) -> list[SliceStatistics]:
    """Statistics of every slice.

    Args:
        weights: How much each example belongs to each slice, in [0, 1].
        predictions: The record of the same examples.
        audited: The examples that the method judged, where it does not judge all; the others count neither
            inside nor outside.
    """
    counts = np.ones(len(predictions)) if predictions.counts is None else _floats(predictions.counts)
    if audited is not None:
        counts = counts * audited
    losses, correct = (
        None if values is None else _floats(values) for values in (predictions.losses, predictions.correct)
    )

    cells = _cells(predictions)

    def of(w: np.ndarray) -> SliceStatistics:
        inside, outside = counts * w, counts * (1 - w)
        size, total = float(inside.sum()), float(counts.sum())
        return SliceStatistics(
            size=size,
            share=size / total if total > 0 else 0.0,
            members=int(np.count_nonzero(inside)),
            loss_inside=_mean(losses, inside),
            loss_outside=_mean(losses, outside),
            accuracy_inside=_mean(correct, inside),
            accuracy_outside=_mean(correct, outside),
            confusion=_confusion(inside, cells),
        )

    return [of(_floats(w)) for w in weights]


def moved(members: Iterable[int], rows: Int[np.ndarray, " m"]) -> tuple[int, ...]:
    """Where members stand now; without those that stand nowhere (-1)."""
    return tuple(at for at in rows[list(members)].tolist() if at >= 0)


def _floats(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, dtype=np.float64)


def _mean(values: np.ndarray | None, mass: np.ndarray) -> float | None:
    total = mass.sum()
    return None if values is None or total <= 0 else float(mass @ values / total)


def _cells(predictions: Predictions) -> tuple[list[tuple[str, str]], Int[np.ndarray, " n"]] | None:
    """The pairs of label and prediction that occur, for classes² may not fit in memory; and which each example has."""
    labels, guesses, classes = predictions.labels, predictions.predictions, predictions.classes()
    if labels is None or guesses is None or not isinstance(predictions.task, Classification):
        return None
    width = len(classes)
    codes, position = np.unique(labels.astype(np.int64) * width + guesses, return_inverse=True)
    return [(classes[code // width], classes[code % width]) for code in codes.tolist()], position


def _confusion(
    inside: np.ndarray, cells: tuple[list[tuple[str, str]], Int[np.ndarray, " n"]] | None
) -> tuple[ConfusionCell, ...]:
    if cells is None:
        return ()
    pairs, position = cells
    weight = np.bincount(position, weights=inside, minlength=len(pairs))
    heaviest = [at for at in np.argsort(-weight, kind="stable") if weight[at] > 0]
    return tuple(ConfusionCell(pairs[at][0], pairs[at][1], float(weight[at])) for at in heaviest)
