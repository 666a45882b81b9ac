"""Statistics of slices: size, loss and accuracy inside and outside, and labels against predictions."""

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
    """Holds the weight of a slice's examples that have this label and this prediction."""

    label: str
    prediction: str
    weight: float


@dataclass(frozen=True)
class AttributeShare:
    """Holds the share of an attribute's value, or of a category, in a cluster and among all examples.

    Attributes:
        name: The value, or the category.
        share: Its share in the cluster; None if the file lacks it.
        overall: Its share among all examples; None if the file lacks it.
    """

    name: str
    share: float | None = None
    overall: float | None = None


@dataclass(frozen=True)
class NearestCluster:
    """Describes the cluster without failures that is nearest to a failing one.

    Attributes:
        sense: Whether the distance is between mean embeddings or between attribute distributions.
        node: The cluster's number in the linkage.
        size: The number of its examples, weighted by their counts.
        accuracy: Its accuracy.
        distance: Its distance from the failing cluster.
        members: Rows of the record, the closest to the failing cluster first.
    """

    sense: Literal["embedding", "attributes"]
    node: int
    size: float
    accuracy: float
    distance: float
    members: tuple[int, ...]


@dataclass(frozen=True)
class ClusterStatistics:
    """Holds further statistics of a slice that is a cluster of a tree.

    Attributes:
        cluster: Its number in the cut.
        node: Its number in the linkage.
        accuracy: The share of its examples that the model gets right.
        wrong: How many of its examples the model gets wrong.
        loss: The mean loss.
        confidence: The mean confidence.
        wrong_confidence: The mean confidence of the wrong examples.
        f1: For single labels, the mean of the classes' F1, weighted by each class's number of labels; for several
            labels, the F1 over all categories together.
        f1_macro: For several labels, the mean over all categories.
        f1_category: The F1 of the audited category.
        top_attributes: The values most over-represented relative to all audited examples.
        nearest: At most one nearest cluster for each kind of distance.
        co_predicted: For several labels, the categories most often predicted along with the audited one.
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
    nearest: tuple[NearestCluster, ...] = ()
    co_predicted: tuple[AttributeShare, ...] = ()

    def renumber_rows(self, rows: Int[np.ndarray, " m"]) -> ClusterStatistics:
        """Return the same cluster for a record where row i of this one has the position rows[i], or none (-1)."""
        return replace(
            self,
            nearest=tuple(replace(one, members=renumber_rows(one.members, rows)) for one in self.nearest),
        )


@dataclass(frozen=True)
class SliceStatistics:
    """Holds the statistics of one slice; None if the record lacks the arrays that they are computed from.

    With c the counts and w the weights of a slice, *inside* averages with c·w and *outside* with c·(1 - w).

    Attributes:
        size: Σ c·w, in examples.
        share: The size as a share of Σ c.
        members: How many examples have a weight above zero.
        loss_inside, loss_outside: The mean loss inside and outside.
        accuracy_inside, accuracy_outside: The accuracy inside and outside.
        confusion: The weight of each pair of label and prediction, largest first (single-label tasks).
        cluster: Further statistics, for methods that cluster.
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
    """Return the statistics of every slice.

    Args:
        weights: How much each example belongs to each slice, in [0, 1].
        predictions: The record of the same examples.
        audited: The mask of the examples that the method audits, (n,), or None for all; other examples count neither
            inside nor outside.
    """
    counts = predictions.row_counts
    if audited is not None:
        counts = counts * audited
    losses, correct = (
        None if values is None else _floats(values) for values in (predictions.losses, predictions.correct)
    )

    cells = _cells(predictions)

    def describe_slice(w: np.ndarray) -> SliceStatistics:
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

    return [describe_slice(_floats(w)) for w in weights]


def renumber_rows(members: Iterable[int], rows: Int[np.ndarray, " m"]) -> tuple[int, ...]:
    """Return the new positions of members, without those that have none (-1)."""
    return tuple(row for row in rows[list(members)].tolist() if row >= 0)


def _floats(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, dtype=np.float64)


def _mean(values: np.ndarray | None, mass: np.ndarray) -> float | None:
    total = mass.sum()
    return None if values is None or total <= 0 else float(mass @ values / total)


def _cells(predictions: Predictions) -> tuple[list[tuple[str, str]], Int[np.ndarray, " n"]] | None:
    """Return the label-prediction pairs that occur, and each example's pair: all classes² may not fit in memory."""
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
    order = [cell for cell in np.argsort(-weight, kind="stable") if weight[cell] > 0]
    return tuple(ConfusionCell(pairs[cell][0], pairs[cell][1], float(weight[cell])) for cell in order)
