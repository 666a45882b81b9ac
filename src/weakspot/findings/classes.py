"""How a model does class by class, and which classes occur together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array, csr_array, diags_array, triu

from weakspot.findings.entries import AuditedSet, ClassMetrics, ClassPair
from weakspot.predictions import Predictions
from weakspot.tasks import Classification, Multilabel

MOST_PAIRS = 20_000
"""How many pairs of classes findings keep, besides those of frequent classes; COCO's 80 classes have 3160 pairs."""

_Counts = TypeVar("_Counts", float, np.ndarray)
_FREQUENT = 40  # classes among which every pair is kept; maps draw no more than these


@dataclass(frozen=True, eq=False)
class ClassCounts:
    """Holds how many examples have each of k classes, how many are predicted to have it, and how many do both.

    Every example is weighted by its count. A share of no examples is NaN.

    Attributes:
        names: (k,) the classes.
        actual: (k,) examples that have the class.
        predicted: (k,) examples that are predicted to have it.
        hits: (k,) examples that have the class and are predicted to have it.
        total: The number of all examples.
    """

    names: tuple[str, ...]
    actual: Float[np.ndarray, " k"]
    predicted: Float[np.ndarray, " k"]
    hits: Float[np.ndarray, " k"]
    total: float

    @property
    def precision(self) -> Float[np.ndarray, " k"]:
        """(k,) the share of examples predicted to have the class that do have it: the accuracy among them."""
        return _share(self.hits, self.predicted)

    @property
    def recall(self) -> Float[np.ndarray, " k"]:
        """(k,) the share of examples with the class that are predicted to have it."""
        return _share(self.hits, self.actual)

    @property
    def f1(self) -> Float[np.ndarray, " k"]:
        """(k,) the harmonic mean of precision and recall."""
        return _share(2 * self.hits, self.actual + self.predicted)

    @property
    def agreement(self) -> Float[np.ndarray, " k"]:
        """(k,) the share of all examples that are rightly predicted to have, or not to have, the class."""
        return _share(
            self.total - self.actual - self.predicted + 2 * self.hits, np.full(len(self.names), self.total)
        )

    def pooled(self) -> ClassCounts:
        """Return the counts summed over all classes, as if they were one class."""
        actual, predicted, hits = (v.sum(keepdims=True) for v in (self.actual, self.predicted, self.hits))
        return ClassCounts(("all",), actual, predicted, hits, self.total * len(self.names))


def count_classes(p: Predictions) -> ClassCounts | None:
    """Count the classes of a record; return None for tasks without classes, or if labels are unknown."""
    if p.labels is None or p.predictions is None or p.task is None or not p.task.by_accuracy:
        return None
    names = p.classes()
    c = p.row_counts
    if isinstance(p.task, Multilabel):
        actual, predicted, hits = c @ p.labels, c @ p.predictions, c @ (p.labels * p.predictions)
    elif isinstance(p.task, Classification):
        actual, predicted = (np.bincount(values, c, len(names)) for values in (p.labels, p.predictions))
        hits = np.bincount(p.labels, c * (p.labels == p.predictions), len(names))
    else:
        return None
    return ClassCounts(names, actual, predicted, hits, float(c.sum()))


def class_metrics(p: Predictions) -> tuple[ClassMetrics, ...]:
    """Return how the model does on each class; empty for tasks without classes, or if labels are unknown."""
    found = count_classes(p)
    if found is None:
        return ()
    shares = (found.precision, found.recall, found.f1)
    return tuple(
        ClassMetrics(name, actual, predicted, *(None if np.isnan(share) else share for share in of))
        for name, actual, predicted, *of in zip(
            found.names,
            *(values.tolist() for values in (found.actual, found.predicted, *shares)),
            strict=True,
        )
    )


def class_pairs(p: Predictions) -> tuple[tuple[ClassPair, ...], int]:
    """Count how often each two classes occur together, as labels and as predictions, in multilabel tasks.

    Thousands of classes occur together in millions of pairs. If there are more than `MOST_PAIRS`, those are kept whose
    counts by labels and by predictions differ most, half of them in absolute terms and half relative to their size, and
    those of the most frequent classes.

    Returns:
        The pairs in the order of their classes, and how many were left out.
    """
    if p.labels is None or p.predictions is None or not isinstance(p.task, Multilabel):
        return (), 0
    c = p.row_counts
    labels, predictions = (_count_pairs(csr_array(values), c) for values in (p.labels, p.predictions))
    both = csr_array(labels + 1j * predictions)  # either may lack a pair that the other has
    both.sort_indices()
    found = both.tocoo()
    kept = (
        np.arange(found.nnz)
        if found.nnz <= MOST_PAIRS
        else _pairs_to_keep(found, c @ p.labels, c @ p.predictions)
    )
    columns = (found.row, found.col, found.data.real, found.data.imag)
    rows = zip(*(column[kept].tolist() for column in columns), strict=True)
    return tuple(ClassPair(*row) for row in rows), found.nnz - len(kept)


def relative_difference(labels: _Counts, predictions: _Counts) -> _Counts:
    """Return how far the counts of a pair are apart, relative to their size: ten more matters little in thousands."""
    apart: _Counts = abs(predictions - labels) / (predictions + labels) ** 0.5
    return apart


def _pairs_to_keep(
    found: coo_array, actual: Float[np.ndarray, " k"], predicted: Float[np.ndarray, " k"]
) -> Int[np.ndarray, " m"]:
    """Return the positions of the pairs to keep if there are too many."""
    labels, predictions = found.data.real, found.data.imag
    frequent: np.ndarray = np.zeros(len(actual), dtype=bool)
    for numbers in (actual, actual + predicted):
        frequent[np.argsort(-numbers, kind="stable")[:_FREQUENT]] = True
    kept = frequent[found.row] & frequent[found.col]
    for apart in (abs(predictions - labels), relative_difference(labels, predictions)):
        kept[np.argsort(-apart, kind="stable")[: MOST_PAIRS // 2]] = True
    return np.flatnonzero(kept)


def _count_pairs(has: csr_array, counts: Float[np.ndarray, " n"]) -> csr_array:
    """Return how many examples have both classes of each pair, (k, k), above the diagonal."""
    return triu(has.T @ (diags_array(counts) @ has), k=1)


def _share(part: Float[np.ndarray, " k"], whole: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """Return part / whole, NaN if the whole is 0."""
    shares: np.ndarray = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return shares


CLASS_COLUMNS = ("class", "examples", "predicted", "precision", "recall", "f1")


def class_rows(whole: AuditedSet) -> list[list[str | float | None]]:
    """Return a row of `CLASS_COLUMNS` for each class, for tables and files."""
    return [
        [row.name, row.examples, row.predicted, row.precision, row.recall, row.f1] for row in whole.classes
    ]
