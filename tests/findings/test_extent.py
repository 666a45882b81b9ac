"""How far a region extends: where errors stop being more common, judged on examples it was not found in."""

import numpy as np
import pytest

from weakspot.findings.extent import (
    ErrorRates,
    ReducedEmbeddings,
    change_point,
    cross_fitted_rows,
    find_extent,
)


def test_the_change_point_is_where_the_rate_changes():
    rng = np.random.default_rng(0)
    scores = -np.arange(1000.0)
    errors = (rng.random(1000) < np.where(np.arange(1000) < 200, 0.9, 0.1)).astype(float)
    threshold, likelihood = change_point(scores, errors, ErrorRates(0.9, 0.1))
    assert -threshold == pytest.approx(199, abs=5)
    assert likelihood > 100


def test_a_long_stretch_of_slightly_raised_rates_does_not_outweigh_the_core():
    """Two hundred at 90 %, then two thousand at 25 %, then the rest at 20 %."""
    rng = np.random.default_rng(0)
    rate = np.repeat([0.9, 0.25, 0.2], [200, 2000, 2000])
    errors = (rng.random(len(rate)) < rate).astype(float)
    threshold, _ = change_point(-np.arange(float(len(rate))), errors, ErrorRates(0.9, 0.22))
    assert -threshold == pytest.approx(199, abs=10)


def log_likelihood(values):
    rate = values.mean()
    return sum(np.log(rate) * v + np.log(1 - rate) * (1 - v) for v in values) if 0 < rate < 1 else 0.0


@pytest.mark.parametrize("inside", [0.25, 0.4, 0.6, 0.9])
def test_the_change_point_equals_the_best_of_all_splits(inside):
    """Splits after the fifth, worse before than after, and three quarters of the way to the core's rate."""
    rates, least, none = ErrorRates(inside, 0.2), 0.2 + 0.75 * (inside - 0.2), 0
    for seed in range(25):
        rng = np.random.default_rng(seed)
        scores, errors = rng.normal(size=40), (rng.random(40) < 0.3).astype(float)
        ranked = errors[np.argsort(-scores)]
        splits = [
            (log_likelihood(ranked[:k]) + log_likelihood(ranked[k:]) - log_likelihood(ranked), k)
            for k in range(5, 40)
            if ranked[:k].mean() > ranked[k:].mean() and ranked[:k].mean() >= least
        ]
        threshold, likelihood = change_point(scores, errors, rates)
        if not splits:
            assert (threshold, likelihood) == (np.inf, -np.inf)
            none += 1
            continue
        best = max(splits)[0]
        first = min(k for value, k in splits if value == pytest.approx(best, rel=1e-12))
        assert likelihood == pytest.approx(best)
        assert (scores >= threshold).sum() == first
    assert (none == 25) == (inside == 0.9)  # no five of such examples are mostly errors


@pytest.mark.parametrize("scores", [np.zeros(30), np.array([1.0]), np.array([])])
def test_nothing_to_split_gives_nothing(scores):
    assert change_point(scores, np.ones(len(scores)), ErrorRates(0.9, 0.1)) == (np.inf, -np.inf)


def test_a_core_that_is_no_worse_has_no_extent():
    assert change_point(np.arange(30.0), np.ones(30), ErrorRates(0.2, 0.2)) == (np.inf, -np.inf)


def test_rates_are_smoothed_and_weighted():
    weights, errors = np.array([1.0, 1.0, 0.0, 0.0]), np.array([1.0, 1.0, 0.0, 0.0])
    assert ErrorRates.of(weights, errors, np.ones(4)) == ErrorRates(2.5 / 3, 0.5 / 3)
    assert ErrorRates.of(weights, errors, np.array([2.0, 2, 1, 1])) == ErrorRates(4.5 / 5, 0.5 / 3)


def planted(seed, n=1200, inside=240, d=40):
    """A cluster of errors, of which a small core was found in the first half."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    region = rng.permutation(n) < inside
    x[region, :3] += 3
    errors = (rng.random(n) < np.where(region, 0.8, 0.1)).astype(float)
    searched = np.arange(n) < n // 2
    core = np.flatnonzero(region & searched)[:20]
    return x, region, errors, searched, core


@pytest.mark.parametrize("seed", range(5))
def test_a_core_grows_to_the_whole_cluster(seed):
    x, region, errors, searched, core = planted(seed)
    members = np.zeros(len(x), dtype=bool)
    members[core] = True
    everybody = np.ones(len(x), dtype=bool)
    space = ReducedEmbeddings(x, x[~searched])
    rates = ErrorRates(0.8, 0.1)
    found = find_extent(
        space, [(members, everybody)], everybody, searched, everybody[~searched], errors[~searched], rates
    )
    overlap = (found.rows & region).sum() / (found.rows | region).sum()
    assert overlap > 0.85
    inside = cross_fitted_rows(found, everybody[~searched], errors[~searched], rates)
    assert errors[~searched][inside].mean() == pytest.approx(0.8, abs=0.12)


@pytest.mark.parametrize("core", [0.32, 0.35, 0.4])
def test_the_rate_inside_is_not_flattered_where_there_is_nothing(core):
    """Errors are 30 % everywhere. Inside an extent that ends where its own errors say they look more common; inside the
    cross-fitted one they do not, up to three standard errors over the sets.
    """
    flattered, cross_fitted, rates = [], [], ErrorRates(core, 0.3)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x, errors = rng.normal(size=(400, 5)), (rng.random(400) < 0.3).astype(float)
        searched, everybody = np.arange(400) < 200, np.ones(400, dtype=bool)
        start = [(np.arange(400) < 10, everybody)]
        found = find_extent(
            ReducedEmbeddings(x, x[200:]), start, everybody, searched, everybody[200:], errors[200:], rates
        )
        inside = found.tested_scores >= found.threshold
        rows = cross_fitted_rows(found, everybody[200:], errors[200:], rates)
        flattered.append((errors[200:][inside].sum(), inside.sum()))
        cross_fitted.append((errors[200:][rows].sum(), rows.sum()))
    assert away(flattered) > 3
    assert abs(away(cross_fitted)) < 3


def away(sets):
    """How many standard errors the excess of errors over 30 % of the rows is from zero, sets being independent."""
    excess = np.array([errors - 0.3 * rows for errors, rows in sets])
    return excess.mean() / (excess.std(ddof=1) / np.sqrt(len(excess)))
