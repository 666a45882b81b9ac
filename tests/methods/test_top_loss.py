"""The highest losses as a slice: the same as by sorting, and never tested."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_array_equal

from weakspot import Predictions
from weakspot.evaluation.synthetic import planted_predictions
from weakspot.findings import Findings
from weakspot.methods.top_loss import TopLoss
from weakspot.pipeline.search import search


def test_the_slice_is_the_share_of_the_highest_losses():
    p, _ = planted_predictions(4.0, 500, 0)
    (weights,) = TopLoss(share=0.1).fit(p).slices_.weights
    assert_array_equal(np.flatnonzero(weights), np.sort(np.argsort(-p.losses)[:50]))


def test_equal_losses_are_inside_or_outside_together():
    x, losses = np.random.default_rng(0).normal(size=(10, 2)), np.r_[3.0, 2.0, 2.0, 2.0, np.ones(6)]
    (weights,) = TopLoss(share=0.2).fit(Predictions.from_arrays(x, losses=losses)).slices_.weights
    assert_array_equal(weights, np.arange(10) < 4)
    alike = Predictions.from_arrays(x, losses=np.ones(10))
    assert len(TopLoss().fit(alike).slices_) == 0


def test_the_slice_is_not_tested_and_the_report_says_why():
    p, _ = planted_predictions(4.0, 1000, 0)
    run = search(TopLoss(), p)
    told = Findings.build(p, run.slices, confirm=run.confirm, source=run.source)
    (one,) = told.findings
    assert one.verdict == "not_tested"
    assert "slices of method=top_loss hold examples because of their errors" in told.confirmation.explanation
