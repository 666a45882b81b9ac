"""Tree leaves as slices: compared with scikit-learn's trees, and on a planted box of errors."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.tree import DecisionTreeClassifier

from weakspot import Predictions
from weakspot.methods.barlow import Barlow
from weakspot.tasks import Classification, Regression


def boxed(n: int, seed: int) -> tuple[Predictions, np.ndarray]:
    """Two classes; one is mostly misclassified if the second feature is low and the fourth is high."""
    rng = np.random.default_rng(seed)
    x, labels = rng.normal(size=(n, 6)), rng.integers(0, 2, n)
    planted = (labels == 1) & (x[:, 1] < -0.3) & (x[:, 3] > 0.4)
    wrong = rng.random(n) < np.where(planted, 0.8, 0.1)
    task = Classification(("cat", "dog"))
    return Predictions.from_arrays(x, labels=labels, predictions=labels ^ wrong, task=task), planted


def test_slices_are_scikit_learns_tree_leaves_ordered_by_importance():
    p, _ = boxed(800, 0)
    new, _ = boxed(500, 1)
    ours = Barlow(n_slices=100).fit(p)
    expected, there, importance = [], [], []
    for label in (0, 1):
        rows, theirs = p.labels == label, new.labels == label
        wrong = ~p.correct[rows]
        tree = DecisionTreeClassifier(criterion="entropy", max_depth=3, min_samples_leaf=20, random_state=0)
        leaves = tree.fit(p.embeddings[rows], wrong).apply(p.embeddings[rows])
        for leaf in np.unique(leaves):
            if wrong[leaves == leaf].mean() > wrong.mean():
                expected.append(np.zeros(len(p)))
                there.append(np.zeros(len(new)))
                expected[-1][rows] = leaves == leaf
                there[-1][theirs] = tree.apply(new.embeddings[theirs]) == leaf
                importance.append(wrong[leaves == leaf].sum() * wrong[leaves == leaf].mean())
    assert len(expected) == len(ours.slices_) >= 4
    missed = ours.slices_.weights @ ~p.correct
    assert_allclose(missed**2 / ours.slices_.weights.sum(axis=1), sorted(importance, reverse=True))
    kinds = {tuple(row): tuple(other) for row, other in zip(expected, there, strict=True)}
    found = {
        tuple(row): tuple(other)
        for row, other in zip(ours.slices_.weights, ours.membership(new).T, strict=True)
    }
    assert found == kinds


def test_a_planted_box_is_the_first_leaf():
    for seed in range(5):
        p, planted = boxed(1500, seed)
        first = Barlow(max_depth=2).fit(p).slices_.weights[0]
        assert first @ planted > 0.8 * max(first.sum(), planted.sum())


def test_perfect_predictions_have_no_leaves_and_regression_is_refused():
    p, _ = boxed(200, 0)
    perfect = Predictions.from_arrays(p.embeddings, labels=p.labels, predictions=p.labels, task=p.task)
    assert len(Barlow().fit(perfect).slices_) == 0
    with pytest.raises(ValueError, match="predicts which examples are wrong; regression has none"):
        Barlow().check(200, Regression())
