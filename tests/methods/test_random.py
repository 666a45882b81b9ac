"""Random slices: of the requested share, independent of each other and of everything else."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.stats import binom

from weakspot import Predictions
from weakspot.evaluation.synthetic import planted_predictions
from weakspot.findings import Findings
from weakspot.methods.random import Random
from weakspot.pipeline.search import search


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_slices_are_drawn_independently(dtype):
    """Sizes of slices and of their overlaps stay within binomial limits, for embeddings on a grid too."""
    grid = np.stack(np.meshgrid(*[np.arange(100)] * 2), axis=-1).reshape(-1, 2).astype(dtype)
    for x in (grid, np.random.default_rng(0).normal(size=(10_000, 8)).astype(dtype)):
        weights = (
            Random(n_slices=8, share=0.2)
            .fit(Predictions.from_arrays(x, losses=np.ones(10_000)))
            .slices_.weights
        )
        low, high = binom.ppf([0.0005, 0.9995], 10_000, 0.2)
        assert ((weights.sum(axis=1) >= low) & (weights.sum(axis=1) <= high)).all()
        shared = (weights @ weights.T)[np.triu_indices(8, 1)]
        low, high = binom.ppf([0.00005, 0.99995], 10_000, 0.04)
        assert ((shared >= low) & (shared <= high)).all()


def test_membership_repeats_the_weights_and_another_seed_draws_others():
    p, _ = planted_predictions(4.0, 500, 0)
    fitted = Random(share=0.3).fit(p)
    assert_array_equal(fitted.membership(p).T, fitted.slices_.weights)
    other = Random(share=0.3, seed=1).fit(p).slices_.weights
    assert 0.3 < (other != fitted.slices_.weights).mean() < 0.5  # 2 × .3 × .7 = .42


def test_random_slices_are_confirmed_no_more_often_than_by_chance():
    """A real slice in the data does not help: of 40 sets, at most the 99.9 % quantile at 5 % is confirmed."""
    confirmed = 0
    for seed in range(40):
        p, _ = planted_predictions(4.0, 400, seed)
        run = search(Random(share=0.2, seed=seed), p)
        told = Findings.build(p, run.slices, confirm=run.confirm, source=run.source)
        confirmed += any(one.confirmed for one in told.findings)
    assert confirmed <= binom.ppf(0.999, 40, 0.05)
