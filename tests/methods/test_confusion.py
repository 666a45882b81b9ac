"""Cells of the confusion matrix: equal to scikit-learn's, applied by label, and never tested."""

from __future__ import annotations

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import confusion_matrix

from weakspot import Predictions
from weakspot.evaluation.synthetic import planted_predictions
from weakspot.findings import Findings
from weakspot.findings.runs_to_compare import RunToCompare, check_comparable
from weakspot.methods.confusion import Confusion
from weakspot.pipeline.fail_if import FailIf
from weakspot.pipeline.search import search


def test_slices_are_the_largest_cells_of_scikit_learns_matrix():
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


def test_cells_are_not_tested_and_the_report_says_why():
    p, q = (planted_predictions(4.0, 1000, seed)[0] for seed in range(2))
    run = search(Confusion(), p)
    assert run.slices.searched_mask.all()  # nothing is held out, since cells are not tested
    for confirm in (run.confirm, np.arange(1000) % 2 == 0, q):
        told = Findings.build(p, run.slices, confirm=confirm)
        assert {one.verdict for one in told.findings} == {"not_tested"}
        assert all(re.match(r"label = \S+, predicted \S+$", one.name) for one in told.findings)
        assert {one.evidence.verdict for one in told.slices} == {"not_tested"}
        assert all(
            one.accuracy.inside == 0 for one in told.findings
        )  # over the cell's own examples, not over their label
        why = "slices of method=confusion hold examples because of their errors"
        assert why in told.confirmation.explanation
        assert told.confirmation.tested_on == ""
        assert why in told.confirmation.untested_because


def test_comparisons_and_fail_if_refuse_cells():
    p, _ = planted_predictions(4.0, 200, 0)
    run = RunToCompare("a", Confusion().fit(p).slices_, p)
    with pytest.raises(
        ValueError, match="a: slices of method=confusion hold examples because of their errors"
    ):
        check_comparable(run, run)
    with pytest.raises(ValueError, match="cannot be decided, because slices of method=confusion hold"):
        FailIf(accuracy_below=0.5).check(p, Confusion())


def test_a_perfect_model_has_no_slices():
    p, _ = planted_predictions(4.0, 100, 0)
    perfect = Predictions.from_arrays(p.embeddings, labels=p.labels, predictions=p.labels, task=p.task)
    assert len(Confusion().fit(perfect).slices_) == 0
