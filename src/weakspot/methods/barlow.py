"""Leaves of decision trees that predict errors (Singla et al., CVPR 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from weakspot.methods.base import Callback, Method, embeddings_for, parameters_of
from weakspot.methods.parts import Examples, check_at_least, counts_of
from weakspot.methods.residuals import groups
from weakspot.predictions import Predictions
from weakspot.tasks import Task

_ROUNDING = 1e-9


class Barlow(Method):
    """Leaves that errors gather in, of one decision tree per label on the features of the embedding.

    Singla, Nushi, Shah, Kamar, Horvitz: Understanding failures of deep networks via robust feature extraction, CVPR
    2021. A leaf counts if errors are more common in it than among all of its label; that of the highest importance
    comes first: its error rate × its share of all errors. The paper first takes the features of most mutual
    information, and has them from a robust model; here they are the embedding's.

    n_slices    at most
    max_depth   of a tree: how many features a leaf depends on, at most
    min_size    examples in a leaf, at least
    seed        of the order in which equal splits are tried

    An example belongs to a leaf if it is of its label and within its thresholds.
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
                f"min_size={self.min_size}: a leaf must leave as many of the {n:.10g} examples outside"
            )
        if task is not None and not task.by_accuracy:
            raise ValueError(
                f"Barlow predicts which examples are wrong; {task.kind} has none that are right or wrong"
            )

    def fit(self, p: Predictions, callback: Callback | None = None) -> Barlow:
        """Grow the trees on `p`, of which it must be known which examples are right."""
        from sklearn.tree import DecisionTreeClassifier

        self.check(counts_of(p).sum(), p.task)
        if p.correct is None:
            raise ValueError("Barlow needs to know which examples are right; these predictions do not say")
        tell = callback or (lambda stage, done, total: None)
        some = Examples.of(p)
        wrong = ~np.asarray(some.record.correct, dtype=bool)
        found: list[tuple[float, int, np.ndarray, np.ndarray]] = []
        parts = some.parts()
        for done, rows in enumerate(parts):
            tell("trees", done, len(parts))
            counts, missed = some.counts[rows], wrong[rows]
            if counts.sum() < 2 * self.min_size or missed.all() or not missed.any():
                continue
            tree = DecisionTreeClassifier(
                criterion="entropy",
                max_depth=self.max_depth,
                min_weight_fraction_leaf=(1 - _ROUNDING) * self.min_size / counts.sum(),
                random_state=self.seed,
            ).fit(some.x[rows], missed, sample_weight=counts)
            leaves = tree.apply(some.x[rows].astype(np.float32))
            for leaf, lower, upper in _boxes(tree.tree_, some.x.shape[1]):
                here = leaves == leaf
                errors, rate = counts[here] @ missed[here], np.average(missed[here], weights=counts[here])
                if rate > np.average(missed, weights=counts) + _ROUNDING:
                    found.append((errors * rate, int(some.codes[rows[0]]), lower, upper))
        tell("trees", len(parts), len(parts))
        found = sorted(found, key=lambda one: -one[0])[: self.n_slices]
        shape = (len(found), some.x.shape[1])
        parameters = {
            "labels": np.array([one[1] for one in found], dtype=np.int64),
            "lower": np.array([one[2] for one in found]).reshape(shape),
            "upper": np.array([one[3] for one in found]).reshape(shape),
        }
        self.slices_ = some.slices(self, p, _within(some.record, **parameters), parameters)
        return self

    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """1 within the thresholds, for the leaf's label; by the thresholds alone where labels are unknown."""
        labels, lower, upper = parameters_of(self._fitted(), "labels", "lower", "upper")
        embeddings_for(p.embeddings, lower.shape[1], "the leaves")
        return _within(p, labels, lower, upper).astype(np.float64)


def _boxes(tree: Any, width: int) -> Iterator[tuple[int, Float[np.ndarray, " d"], Float[np.ndarray, " d"]]]:
    """Every leaf of a tree with the bounds of its features: above the lower one, and no more than the upper one."""
    open_ = [(0, np.full(width, -np.inf), np.full(width, np.inf))]
    while open_:
        node, lower, upper = open_.pop()
        if tree.children_left[node] < 0:
            yield node, lower, upper
            continue
        feature, threshold = tree.feature[node], tree.threshold[node]
        below, above = upper.copy(), lower.copy()
        below[feature] = above[feature] = threshold
        open_ += [(tree.children_left[node], lower, below), (tree.children_right[node], above, upper)]


def _within(
    p: Predictions,
    labels: Int[np.ndarray, " k"],
    lower: Float[np.ndarray, "k d"],
    upper: Float[np.ndarray, "k d"],
) -> Bool[np.ndarray, "n k"]:
    inside = np.empty((len(p), len(labels)), dtype=bool)
    for j, (low, high) in enumerate(zip(lower, upper, strict=True)):
        bounded = np.flatnonzero(np.isfinite(low) | np.isfinite(high))
        x = np.asarray(p.embeddings[:, bounded], dtype=np.float32)  # as the tree compares them
        inside[:, j] = ((x > low[bounded]) & (x <= high[bounded])).all(axis=1)
    return inside if p.labels is None else inside & (groups(p)[:, None] == labels)
