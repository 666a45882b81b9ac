"""How a model does class by class, and which classes come together: counted once, for whoever says something of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array, csr_array, diags_array, triu

from weakspot.findings.record import ClassRow, Pair
from weakspot.predictions import Predictions
from weakspot.tasks import Classification, Multilabel

MOST_PAIRS = 20_000
"""How many pairs findings keep, beside those of frequent classes: of 80 classes, as in COCO, all 3160."""

_Counts = TypeVar("_Counts", float, np.ndarray)
_FREQUENT = 40  # classes among which every pair is kept; maps draw no more than these


@dataclass(frozen=True, eq=False)
class Tally:
    """Of every class how many examples have it, are predicted to have it, and both; each with its count.

    A share of nothing is NaN.

    Attributes:
        names: (k,) the classes.
        actual, predicted, hits: (k,)
        total: The number of all examples.
    """

    names: tuple[str, ...]
    actual: Float[np.ndarray, " k"]
    predicted: Float[np.ndarray, " k"]
    hits: Float[np.ndarray, " k"]
    total: float

    @property
    def precision(self) -> Float[np.ndarray, " k"]:
        """Of those predicted to have the class the share that has it: the accuracy among the predicted."""
        return _share(self.hits, self.predicted)

    @property
    def recall(self) -> Float[np.ndarray, " k"]:
        """Of those that have the class the share that is predicted to."""
        return _share(self.hits, self.actual)

    @property
    def f1(self) -> Float[np.ndarray, " k"]:
        """The harmonic mean of the two."""
        return _share(2 * self.hits, self.actual + self.predicted)

    @property
    def agreement(self) -> Float[np.ndarray, " k"]:
        """Of all examples the share whose answer to the class, yes or no, is right."""
        return _share(
            self.total - self.actual - self.predicted + 2 * self.hits, np.full(len(self.names), self.total)
        )

    def together(self) -> Tally:
        """All classes' answers as those to one class."""
        actual, predicted, hits = (v.sum(keepdims=True) for v in (self.actual, self.predicted, self.hits))
        return Tally(("all",), actual, predicted, hits, self.total * len(self.names))


def tally(p: Predictions) -> Tally | None:
    """Count the classes of a record; None for tasks that are not judged by them, and where labels are unknown."""
    if p.labels is None or p.predictions is None or p.task is None or not p.task.by_accuracy:
        return None
    names = p.classes()
    c = np.ones(len(p)) if p.counts is None else p.counts.astype(np.float64)
    if isinstance(p.task, Multilabel):
        actual, predicted, hits = c @ p.labels, c @ p.predictions, c @ (p.labels * p.predictions)
    elif isinstance(p.task, Classification):
        actual, predicted = (np.bincount(values, c, len(names)) for values in (p.labels, p.predictions))
        hits = np.bincount(p.labels, c * (p.labels == p.predictions), len(names))
    else:
        return None
    return Tally(names, actual, predicted, hits, float(c.sum()))


def class_rows(p: Predictions) -> tuple[ClassRow, ...]:
    """The same as a table."""
    found = tally(p)
    if found is None:
        return ()
    shares = (found.precision, found.recall, found.f1)
    return tuple(
        ClassRow(name, actual, predicted, *(None if np.isnan(share) else share for share in of))
        for name, actual, predicted, *of in zip(
            found.names,
            *(values.tolist() for values in (found.actual, found.predicted, *shares)),
            strict=True,
        )
    )


def pairs(p: Predictions) -> tuple[tuple[Pair, ...], int]:
    """Two classes that some example has, or is predicted to have, both; for tasks of several labels.

    Thousands of classes come together in millions of ways. Of more than `MOST_PAIRS` those are kept whose numbers by
    labels and by predictions are furthest apart, half of them as they are and half for how large they are, and those
    of the most frequent classes.

    Returns:
        The pairs in the order of their classes, and how many were left out.
    """
    if p.labels is None or p.predictions is None or not isinstance(p.task, Multilabel):
        return (), 0
    c = np.ones(len(p)) if p.counts is None else p.counts.astype(np.float64)
    labels, predictions = (_pairwise(csr_array(values), c) for values in (p.labels, p.predictions))
    both = csr_array(labels + 1j * predictions)  # either may lack a pair that the other has
    both.sort_indices()
    found = both.tocoo()
    kept = (
        np.arange(found.nnz) if found.nnz <= MOST_PAIRS else _telling(found, c @ p.labels, c @ p.predictions)
    )
    columns = (found.row, found.col, found.data.real, found.data.imag)
    rows = zip(*(column[kept].tolist() for column in columns), strict=True)
    return tuple(Pair(*row) for row in rows), found.nnz - len(kept)


def surprise(labels: _Counts, predictions: _Counts) -> _Counts:
    """How far the numbers of a pair are apart for how large they are: a difference of ten says little of thousands."""
    apart: _Counts = abs(predictions - labels) / (predictions + labels) ** 0.5
    return apart


def _telling(
    found: coo_array, actual: Float[np.ndarray, " k"], predicted: Float[np.ndarray, " k"]
) -> Int[np.ndarray, " m"]:
    """Positions of the pairs to keep where there are too many."""
    labels, predictions = found.data.real, found.data.imag
    frequent: np.ndarray = np.zeros(len(actual), dtype=bool)
    for numbers in (actual, actual + predicted):
        frequent[np.argsort(-numbers, kind="stable")[:_FREQUENT]] = True
    kept = frequent[found.row] & frequent[found.col]
    for apart in (abs(predictions - labels), surprise(labels, predictions)):
        kept[np.argsort(-apart, kind="stable")[: MOST_PAIRS // 2]] = True
    return np.flatnonzero(kept)


def _pairwise(has: csr_array, counts: Float[np.ndarray, " n"]) -> csr_array:
    """Of each class with each later one, how many examples have both."""
    return triu(has.T @ (diags_array(counts) @ has), k=1)


def _share(part: Float[np.ndarray, " k"], whole: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    shares: np.ndarray = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return shares
