"""Statistics of every node down to the cut, each a difference of two prefix sums: no node is visited twice.

In the order of the dendrogram's leaves the clusters of any node are contiguous, so a sum over a node is the
difference of two prefix sums over the clusters, and the model is never run again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from numba import njit

from weakspot.methods.udis.audited_arrays import AuditedArrays
from weakspot.methods.udis.cut import TreeCut
from weakspot.predictions.attributes import Categorical

_ROWS = 8192  # read at a time
MOST_VALUES = 50
"""Attributes with more values (users, titles) are left out: their distributions do not distinguish nodes."""


@dataclass(frozen=True, eq=False)
class LeafSpans:
    """Holds the span of every node's clusters, by position (clusters below k, then merges; the root is last).

    Attributes:
        order: (k,) the clusters in the order of the dendrogram's leaves.
        start: (2k-1,) the node's clusters are order[start:stop].
        stop: (2k-1,) see `start`.
    """

    order: Int[np.ndarray, " k"]
    start: Int[np.ndarray, " p"]
    stop: Int[np.ndarray, " p"]

    @classmethod
    def of(cls, cut: TreeCut) -> LeafSpans:
        """Lay out the clusters of a cut."""
        k = len(cut)
        width = np.ones(2 * k - 1, dtype=np.int64)
        for i, children in enumerate(cut.tree):
            width[k + i] = width[children].sum()
        start = np.zeros(2 * k - 1, dtype=np.int64)
        for i in range(k - 2, -1, -1):
            left, right = cut.tree[i]
            start[left] = start[k + i]
            start[right] = start[k + i] + width[left]
        return cls(np.argsort(start[:k]), start, start + width)

    def sums(self, totals: Float[np.ndarray, "k ..."]) -> Float[np.ndarray, "p ..."]:
        """Sum values by cluster (k, …) over every node (p, …)."""
        running = np.zeros((len(totals) + 1, *totals.shape[1:]))
        np.cumsum(totals[self.order], axis=0, out=running[1:])
        sums: np.ndarray = running[self.stop] - running[self.start]
        return sums


@dataclass(frozen=True, eq=False)
class NodeStatistics:
    """Holds statistics by position (p,); None, or NaN at single nodes, if the record lacks them.

    Attributes:
        spans: The span of every node's clusters.
        size: Σ counts of the examples.
        wrong: Σ counts of the wrong examples.
        all_correct: Whether no example of the node is wrong.
        accuracy: The share of right examples.
        loss: The mean loss.
        confidence: The mean confidence.
        wrong_confidence: Mean confidence of the wrong ones.
        f1: Single-label: mean over classes, weighted by their numbers of labels; multilabel: over all categories
            together (micro).
        f1_macro: Multilabel: mean over all categories, 0 for those that do not occur (published as f1_c).
        f1_category: Of the audited category.
        predicted: Multilabel: share of the node predicted to have each category.
        shares: The share of each attribute value, named in `values`.
    """

    spans: LeafSpans
    size: Float[np.ndarray, " p"]
    wrong: Float[np.ndarray, " p"]
    all_correct: Bool[np.ndarray, " p"]
    accuracy: Float[np.ndarray, " p"]
    loss: Float[np.ndarray, " p"] | None
    confidence: Float[np.ndarray, " p"] | None
    wrong_confidence: Float[np.ndarray, " p"] | None
    f1: Float[np.ndarray, " p"] | None
    f1_macro: Float[np.ndarray, " p"] | None
    f1_category: Float[np.ndarray, " p"] | None
    predicted: Float[np.ndarray, "p C"] | None
    shares: Float[np.ndarray, "p a"]
    values: tuple[str, ...]

    @classmethod
    def of(
        cls,
        cut: TreeCut,
        clusters: Int[np.ndarray, " r"],
        audited: AuditedArrays,
        attributes: list[Categorical],
    ) -> NodeStatistics:
        """Compute the statistics of every node.

        Args:
            cut: The chosen cut.
            clusters: (r,) the cluster of every audited row.
            audited: The audited rows.
            attributes: Of the whole record.
        """
        k, spans = len(cut), LeafSpans.of(cut)

        def total(values: np.ndarray) -> np.ndarray:
            return spans.sums(np.bincount(clusters, weights=values, minlength=k))

        def mean(values: np.ndarray | None, of: np.ndarray, sizes: np.ndarray) -> np.ndarray | None:
            if values is None:
                return None
            with np.errstate(invalid="ignore", divide="ignore"):
                return np.where(sizes > 0, total(of * values) / sizes, np.nan)

        at_fault = audited.counts * ~audited.correct
        all_correct = total(~audited.correct) == 0  # whole numbers: no rounding
        size, wrong = total(audited.counts), np.where(all_correct, 0.0, total(at_fault))
        shares, values = _shares(spans, k, clusters, audited, attributes, size)
        scores = _scores(spans, k, clusters, audited, size)
        return cls(
            spans=spans,
            size=size,
            wrong=wrong,
            all_correct=all_correct,
            accuracy=(size - wrong) / size,
            loss=mean(audited.losses, audited.counts, size),
            confidence=mean(audited.confidence, audited.counts, size),
            wrong_confidence=mean(audited.confidence, at_fault, wrong),
            f1=scores.get("f1"),
            f1_macro=scores.get("f1_macro"),
            f1_category=scores.get("f1_category"),
            predicted=scores.get("predicted"),
            shares=shares,
            values=values,
        )


def row_sums(
    clusters: Int[np.ndarray, " r"],
    rows: Int[np.ndarray, " r"],
    counts: Float[np.ndarray, " r"],
    values: Num[np.ndarray, "n d"],
    k: int,
) -> Float[np.ndarray, "k d"]:
    """Return the sum of counts · values over each cluster (k, d), in float64, without a copy of the rows."""
    sums = np.zeros((k, values.shape[1]))
    for start in range(0, len(rows), _ROWS):
        block = slice(start, start + _ROWS)
        _add_rows(clusters[block], counts[block], values[rows[block]].astype(np.float64), sums)
    return sums


@njit(cache=True, nogil=True)
def _add_rows(clusters: np.ndarray, counts: np.ndarray, values: np.ndarray, sums: np.ndarray) -> None:
    for i in range(len(values)):
        row, total, count = values[i], sums[clusters[i]], counts[i]
        for c in range(len(row)):
            total[c] += count * row[c]


def _shares(
    spans: LeafSpans,
    k: int,
    clusters: np.ndarray,
    audited: AuditedArrays,
    attributes: list[Categorical],
    size: np.ndarray,
) -> tuple[np.ndarray, tuple[str, ...]]:
    parts = [np.empty((2 * k - 1, 0))]
    for attribute in attributes:
        codes, width = attribute.codes[audited.rows], len(attribute.values)
        cells = np.bincount(clusters * width + codes, weights=audited.counts, minlength=k * width)
        parts.append(spans.sums(cells.reshape(k, width)) / size[:, None])
    return np.concatenate(parts, axis=1), tuple(f"{a.name}={value}" for a in attributes for value in a.values)


def _scores(
    spans: LeafSpans, k: int, clusters: np.ndarray, audited: AuditedArrays, size: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the F1 scores of every node, from its hits, predictions and labels by class."""
    if audited.labels is None or audited.predictions is None:
        return {}
    single = audited.labels.ndim == 1
    if single:
        width = len(audited.classes)

        def by_class(classes: np.ndarray, counts: np.ndarray) -> np.ndarray:
            cells = np.bincount(clusters * width + classes, weights=counts, minlength=k * width)
            return spans.sums(cells.reshape(k, width))

        hit = audited.labels == audited.predictions
        hits = by_class(audited.labels, audited.counts * hit)
        predicted, actual = (
            by_class(audited.predictions, audited.counts),
            by_class(audited.labels, audited.counts),
        )
    else:
        rows = np.arange(len(clusters))
        hits, predicted, actual = (
            spans.sums(row_sums(clusters, rows, audited.counts, values, k))
            for values in (audited.labels * audited.predictions, audited.predictions, audited.labels)
        )
    by_category = _f1(hits, predicted, actual)
    scores = {"f1": _f1(hits.sum(axis=1), predicted.sum(axis=1), actual.sum(axis=1))}
    if single:
        scores["f1"] = (by_category * actual).sum(axis=1) / size
    else:
        scores |= {"f1_macro": by_category.mean(axis=1), "predicted": predicted / size[:, None]}
    if audited.category is not None:
        scores["f1_category"] = by_category[:, audited.category]
    return scores


def _f1(hits: np.ndarray, predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Return 2·hits / (predicted + actual), 0 where neither occurs."""
    both = predicted + actual
    f1: np.ndarray = 2 * hits / np.where(both > 0, both, 1)
    return f1
