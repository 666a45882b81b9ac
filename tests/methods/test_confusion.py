"""Cells of the confusion matrix: scikit-learn's, applied by label, and never confirmed."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import confusion_matrix

from weakspot import Predictions
from weakspot.evaluation.synthetic import planted_predictions
from weakspot.findings import Findings
from weakspot.methods.confusion import Confusion
from weakspot.pipeline.search import search


def test_slices_are_the_largest_cells_of_scikit_learn_s_matrix():
    p, _ = planted_predictions(4.0, 500, 0)
    counts = np.random.default_rng(0).integers(1, 4, 500)
    weighted = Predictions.from_arrays(
        p.embeddings, labels=p.labels, outputs=p.outputs, task=p.task, counts=counts
    )
    found = Confusion(n_slices=3).fit(weighted)
    matrix = confusion_matrix(p.labels, p.predictions, sample_weight=counts)
    shares = matrix / matrix.sum(axis=1, keepdims=True)
    np.fill_diagonal(matrix, 0)
    largest = np.argsort(-matrix, axis=None, kind="stable")[:3]
    for j, (label, guess) in enumerate(np.transpose(np.unravel_index(largest, matrix.shape))):
        inside = (p.labels == label) & (p.predictions == guess)
        assert_array_equal(found.slices_.weights[j], inside)
        assert_allclose(found.membership(p)[:, j], np.where(p.labels == label, shares[label, guess], 0))


def test_cells_are_not_confirmed_and_the_report_says_why():
    p, _ = planted_predictions(4.0, 1000, 0)
    run = search(Confusion(), p)
    told = Findings.build(p, run.slices, confirm=run.confirm, source=run.source)
    assert told.findings  # those of labels that do worse than others
    assert not any(one.confirmed for one in told.findings)
    assert any("cannot be confirmed" in note for note in told.notes)


def test_a_perfect_model_confuses_nothing():
    p, _ = planted_predictions(4.0, 100, 0)
    perfect = Predictions.from_arrays(p.embeddings, labels=p.labels, predictions=p.labels, task=p.task)
    assert len(Confusion().fit(perfect).slices_) == 0
