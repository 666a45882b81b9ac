"""How far a region extends: where errors stop being more common, judged on examples it was not found in."""

import numpy as np
import pytest

from weakspot.findings import extent as extent_module
from weakspot.findings.extent import (
    HALVINGS,
    ErrorRates,
    Extent,
    ReducedEmbeddings,
    change_point,
    cross_fitted_weights,
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
    """Two hundred examples with 90 % errors, then two thousand with 25 %, then two thousand with 20 %."""
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
    """Splits after five or more rows, with a higher rate before than after, 3/4 or more of the way to the core's."""
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
    assert (none == 25) == (inside == 0.9)  # such a rate is never reached


def test_the_change_point_is_the_same_to_the_last_digit_in_any_order():
    """Errors are fractional and many scores are equal, so sums are rounded differently in every order."""
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 30, 600).astype(float)
    errors = np.clip(0.3 + 0.4 * (scores > 22) + 0.2 * rng.normal(size=600), 0, 1)
    found = {
        change_point(scores[order], errors[order], ErrorRates(0.7, 0.3))
        for order in (rng.permutation(600) for _ in range(20))
    }
    assert len(found) == 1
    assert next(iter(found))[0] == 23


@pytest.mark.parametrize("scores", [np.zeros(30), np.array([1.0]), np.array([])])
def test_scores_that_cannot_be_split_have_no_change_point(scores):
    assert change_point(scores, np.ones(len(scores)), ErrorRates(0.9, 0.1)) == (np.inf, -np.inf)


def test_a_core_that_is_no_worse_has_no_extent():
    assert change_point(np.arange(30.0), np.ones(30), ErrorRates(0.2, 0.2)) == (np.inf, -np.inf)


def test_rates_are_smoothed_and_weighted():
    weights, errors = np.array([1.0, 1.0, 0.0, 0.0]), np.array([1.0, 1.0, 0.0, 0.0])
    assert ErrorRates.of(weights, errors, np.ones(4)) == ErrorRates(2.5 / 3, 0.5 / 3)
    assert ErrorRates.of(weights, errors, np.array([2.0, 2, 1, 1])) == ErrorRates(4.5 / 5, 0.5 / 3)


def planted(seed, n=1200, inside=240, d=40):
    """A cluster of errors, a small core of which was found in the first half of the examples."""
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
    hashes = np.random.default_rng(seed).random(len(x))
    space = ReducedEmbeddings(x, x[~searched], hashes)
    rates = ErrorRates(0.8, 0.1)
    found = find_extent(
        space, [(members, everybody)], everybody, searched, everybody[~searched], errors[~searched], rates
    )
    overlap = (found.rows & region).sum() / (found.rows | region).sum()
    assert overlap > 0.85
    described, inside = cross_fitted_weights(
        found, everybody[~searched], errors[~searched], rates, hashes[~searched]
    )
    assert np.minimum(described, region).sum() / np.maximum(described, region).sum() > 0.85
    assert np.average(errors[~searched], weights=inside) == pytest.approx(0.8, abs=0.12)


@pytest.mark.parametrize("core", [0.32, 0.35, 0.4])
def test_the_cross_fitted_rate_inside_is_unbiased_if_there_is_no_failure(core):
    """Errors are 30 % everywhere. Inside an extent that was fitted to the same errors, they look more common;
    with cross-fitted weights they do not, within three standard errors over the sets.
    """
    flattered, cross_fitted, rates = [], [], ErrorRates(core, 0.3)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x, errors = rng.normal(size=(400, 5)), (rng.random(400) < 0.3).astype(float)
        searched, everybody = np.arange(400) < 200, np.ones(400, dtype=bool)
        start = [(np.arange(400) < 10, everybody)]
        hashes = rng.random(400)
        space = ReducedEmbeddings(x, x[200:], hashes)
        found = find_extent(space, start, everybody, searched, everybody[200:], errors[200:], rates)
        inside = found.tested_scores >= found.threshold
        _, weights = cross_fitted_weights(found, everybody[200:], errors[200:], rates, hashes[200:])
        flattered.append((errors[200:][inside].sum(), inside.sum()))
        cross_fitted.append((errors[200:] @ weights, weights.sum()))
    assert away(flattered) > 3
    assert abs(away(cross_fitted)) < 3


def away(sets):
    """Return by how many standard errors the excess over 30 % errors differs from zero, over independent sets."""
    excess = np.array([errors - 0.3 * rows for errors, rows in sets])
    return excess.mean() / (excess.std(ddof=1) / np.sqrt(len(excess)))


def uncertain_extent(n=600, seed=0):
    """A ranking with 55 % errors in its upper fifth and 20 % in the rest, so that where it ends is uncertain."""
    rng = np.random.default_rng(seed)
    scores = np.sort(rng.normal(size=n))[::-1]
    errors = (rng.random(n) < np.where(np.arange(n) < n // 5, 0.55, 0.2)).astype(float)
    return Extent(scores, 0.0, 1.0, scores), errors, np.ones(n, dtype=bool), ErrorRates(0.55, 0.2)


def test_an_examples_own_error_does_not_affect_its_weight():
    extent, errors, everybody, rates = uncertain_extent()
    hashes = np.random.default_rng(1).random(len(errors))
    _, before = cross_fitted_weights(extent, everybody, errors, rates, hashes)
    changed = 0
    for row in range(60, 120):
        other = errors.copy()
        other[row] = 1 - other[row]
        _, after = cross_fitted_weights(extent, everybody, other, rates, hashes)
        assert after[row] == before[row]
        changed += not np.array_equal(after, before)
    assert changed > 10  # it does affect the weights of others


def test_weights_are_means_over_halvings_by_the_digits_of_the_hashes():
    extent, errors, everybody, rates = uncertain_extent()
    hashes = np.random.default_rng(1).random(len(errors))
    described, tested = cross_fitted_weights(extent, everybody, errors, rates, hashes, halvings=3)
    within, held_within = np.zeros(len(errors)), np.zeros(len(errors))
    for digit in range(3):
        half = np.floor(hashes * 2 ** (digit + 1)) % 2 == 0
        for fold in (half, ~half):
            threshold, _ = change_point(extent.scores[~fold], errors[~fold], rates)
            held_within[fold] += (extent.scores[fold] >= threshold) / 3
            within += (extent.scores >= threshold) / 6
    assert tested == pytest.approx(held_within, abs=1e-12)
    assert described == pytest.approx(within, abs=1e-12)
    assert ((tested > 0) & (tested < 1)).any()


def test_the_stated_rate_hardly_depends_on_which_halvings_are_drawn():
    """Over twenty draws it varies by a few points; with a single halving per draw it would vary by tens."""
    extent, errors, everybody, rates = uncertain_extent()
    spread = {}
    for halvings in (1, HALVINGS):
        told = [
            np.average(
                errors, weights=cross_fitted_weights(extent, everybody, errors, rates, draw, halvings)[1]
            )
            for draw in np.random.default_rng(2).random((20, len(errors)))
        ]
        spread[halvings] = np.std(told)
    assert spread[HALVINGS] < 0.02
    assert spread[1] > 2 * spread[HALVINGS]


def test_equal_embeddings_have_equal_scores_in_any_order():
    for n, d in ((333, 64), (1001, 33), (1001, 200)):
        rng = np.random.default_rng(0)
        x = np.repeat(rng.normal(size=(n, d)) + 100, 3, axis=0)
        order = rng.permutation(len(x))
        space = ReducedEmbeddings(x, x[order], rng.random(len(x)))
        scores, tested = space.discriminant(x[:, 0] > 100.5, np.ones(len(x), dtype=bool))
        assert len(np.unique(scores)) == n
        assert np.array_equal(scores[order], tested)


@pytest.mark.parametrize("d", [9, 40], ids=["as they are", "principal components"])
def test_the_sample_of_examples_does_not_depend_on_their_order(monkeypatch, d):
    monkeypatch.setattr(extent_module, "_MOST_ROWS", 100)
    rng = np.random.default_rng(0)
    x, hashes, order = rng.normal(size=(500, d)), rng.random(500), rng.permutation(500)
    members, everybody = x[:, 0] > 0.3, np.ones(500, dtype=bool)
    scores, _ = ReducedEmbeddings(x, x, hashes).discriminant(members, everybody)
    permuted, _ = ReducedEmbeddings(x[order], x, hashes[order]).discriminant(members[order], everybody)
    other, _ = ReducedEmbeddings(x, x, rng.random(500)).discriminant(members, everybody)
    assert permuted == pytest.approx(scores[order], abs=1e-5)
    assert other != pytest.approx(scores, abs=1e-2)
