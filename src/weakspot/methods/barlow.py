"""Leaves of decision trees that predict errors (Singla et al., CVPR 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from weakspot.methods.base import Callback, Method, embeddings_for, no_progress, parameters_of
from weakspot.methods.ordered_examples import OrderedExamples
from weakspot.methods.residuals import label_codes
from weakspot.methods.setting_checks import check_at_least
from weakspot.predictions import Predictions
from weakspot.tasks import Task

_ROUNDING = 1e-9


class Barlow(Method):
    """Finds leaves with many errors in decision trees, one per label, on the features of the embedding.

    Singla, Nushi, Shah, Kamar, Horvitz: Understanding failures of deep networks via robust feature extraction, CVPR
    2021. A leaf counts if errors are more common in it than in its label as a whole; leaves are ranked by importance:
    error rate × share of all errors. The paper first selects the features with the highest mutual information, and
    takes them from a robust model; here all features of the embedding are used.

    An example belongs to a leaf if it has the leaf's label and lies within its thresholds.

    Args:
        n_slices: The largest number of leaves.
        max_depth: The largest depth of a tree: a leaf depends on at most this many features.
        min_size: The fewest examples in a leaf.
        seed: The seed of the order in which equal splits are tried.
    """

    word = "barlow"
    noun = "Leaf"
    size_parameter = "min_size"

    def __init__(self, n_slices: int = 5, max_depth: int = 3, min_size: int = 20, seed: int = 0) -> None:
        self.n_slices = n_slices
        self.max_depth = max_depth
        self.min_size = min_size
        self.seed = seed

    def check(self, n: float, task: Task | None) -> None:
        check_at_least(self, n_slices=1, max_depth=1, min_size=1)
        if 2 * self.min_size > n:
            raise ValueError(
                f"min_size={self.min_size} is more than half of the {n:.10g} examples; give a smaller min_size"
            )
        if task is not None and not task.by_accuracy:
            raise ValueError(
                f"Barlow predicts which examples are wrong; {task.kind} has none that are right or wrong"
            )

    def check_record(self, p: Predictions) -> None:
        if p.correct is None:
            raise ValueError("Barlow needs to know which examples are right; these predictions do not say")

    def fit(self, p: Predictions, callback: Callback | None = None) -> Barlow:
        """Grow the trees on `p`, which must include correctness."""
        from sklearn.tree import DecisionTreeClassifier

        self.check(p.row_counts.sum(), p.task)
        self.check_record(p)
        report_progress = callback or no_progress
        examples = OrderedExamples.of(p)
        wrong = ~np.asarray(examples.record.correct, dtype=bool)
        candidates: list[tuple[float, int, np.ndarray, np.ndarray]] = []
        rows_by_label = examples.rows_by_label()
        for done, rows in enumerate(rows_by_label):
            report_progress("trees", done, len(rows_by_label))
            counts, wrong_here = examples.counts[rows], wrong[rows]
            if counts.sum() < 2 * self.min_size or wrong_here.all() or not wrong_here.any():
                continue
            tree = DecisionTreeClassifier(
                criterion="entropy",
                max_depth=self.max_depth,
                min_weight_fraction_leaf=(1 - _ROUNDING) * self.min_size / counts.sum(),
                random_state=self.seed,
            ).fit(examples.x[rows], wrong_here, sample_weight=counts)
            leaves = tree.apply(examples.x[rows].astype(np.float32))
            for leaf, lower, upper in _leaf_bounds(tree.tree_, examples.x.shape[1]):
                here = leaves == leaf
                errors, rate = (
                    counts[here] @ wrong_here[here],
                    np.average(wrong_here[here], weights=counts[here]),
                )
                if rate > np.average(wrong_here, weights=counts) + _ROUNDING:
                    candidates.append((errors * rate, int(examples.labels[rows[0]]), lower, upper))
        report_progress("trees", len(rows_by_label), len(rows_by_label))
        chosen = sorted(candidates, key=lambda leaf: -leaf[0])[: self.n_slices]
        shape = (len(chosen), examples.x.shape[1])
        parameters = {
            "labels": np.array([label for _, label, _, _ in chosen], dtype=np.int64),
            "lower": np.array([lower for _, _, lower, _ in chosen]).reshape(shape),
            "upper": np.array([upper for _, _, _, upper in chosen]).reshape(shape),
        }
        self.slices_ = examples.slices(self, p, _within(examples.record, **parameters), parameters)
        return self

    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """Return 1 for examples of the leaf's label within its thresholds; if labels are unknown, of any label."""
        labels, lower, upper = parameters_of(self._fitted(p), "labels", "lower", "upper")
        embeddings_for(p.embeddings, lower.shape[1], "the leaves")
        return _within(p, labels, lower, upper).astype(np.float64)


def _leaf_bounds(
    tree: Any, width: int
) -> Iterator[tuple[int, Float[np.ndarray, " d"], Float[np.ndarray, " d"]]]:
    """Yield every leaf of a tree with the bounds on its features: lower < x ≤ upper."""
    waiting = [(0, np.full(width, -np.inf), np.full(width, np.inf))]
    while waiting:
        node, lower, upper = waiting.pop()
        if tree.children_left[node] < 0:
            yield node, lower, upper
            continue
        feature, threshold = tree.feature[node], tree.threshold[node]
        below, above = upper.copy(), lower.copy()
        below[feature] = above[feature] = threshold
        waiting += [(tree.children_left[node], lower, below), (tree.children_right[node], above, upper)]


def _within(
    p: Predictions,
    labels: Int[np.ndarray, " k"],
    lower: Float[np.ndarray, "k d"],
    upper: Float[np.ndarray, "k d"],
) -> Bool[np.ndarray, "n k"]:
    """Return which examples lie within the bounds (k, d) of each leaf and have its label."""
    inside = np.empty((len(p), len(labels)), dtype=bool)
    for j, (low, high) in enumerate(zip(lower, upper, strict=True)):
        bounded = np.flatnonzero(np.isfinite(low) | np.isfinite(high))
        x = np.asarray(p.embeddings[:, bounded], dtype=np.float32)  # as the tree compares them
        inside[:, j] = ((x > low[bounded]) & (x <= high[bounded])).all(axis=1)
    return inside if p.labels is None else inside & (label_codes(p)[:, None] == labels)
