"""How far a region extends: where errors stop being commoner, judged on examples it was not found in."""

import numpy as np
import pytest

from weakspot.findings.extent import Space, change_point, extend, honest_rows


def test_the_change_point_is_where_the_rate_changes():
    rng = np.random.default_rng(0)
    scores = -np.arange(1000.0)
    errors = (rng.random(1000) < np.where(np.arange(1000) < 200, 0.9, 0.1)).astype(float)
    threshold, likelihood = change_point(scores, errors)
    assert -threshold == pytest.approx(199, abs=5)
    assert likelihood > 100


def test_the_change_point_equals_the_best_of_all_splits():
    rng = np.random.default_rng(1)
    scores, errors = rng.normal(size=40), (rng.random(40) < 0.3).astype(float)
    order = np.argsort(-scores)

    def log_likelihood(values):
        rate = values.mean()
        return sum(np.log(rate) * v + np.log(1 - rate) * (1 - v) for v in values) if 0 < rate < 1 else 0.0

    ranked = errors[order]
    best = max(
        (log_likelihood(ranked[:k]) + log_likelihood(ranked[k:]) - log_likelihood(ranked), -k)
        for k in range(5, 40)
        if ranked[:k].mean() > ranked[k:].mean()
    )
    threshold, likelihood = change_point(scores, errors)
    assert likelihood == pytest.approx(best[0])
    assert (scores >= threshold).sum() == -best[1]


@pytest.mark.parametrize("scores", [np.zeros(30), np.array([1.0]), np.array([])])
def test_nothing_to_split_gives_nothing(scores):
    assert change_point(scores, np.ones(len(scores))) == (np.inf, -np.inf)


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
    space = Space(x, x[~searched])
    found = extend(
        space, [(members, everybody)], everybody, searched, everybody[~searched], errors[~searched]
    )
    overlap = (found.rows & region).sum() / (found.rows | region).sum()
    assert overlap > 0.85
    inside = honest_rows(found, everybody[~searched], errors[~searched])
    assert errors[~searched][inside].mean() == pytest.approx(0.8, abs=0.12)


def test_the_rate_inside_is_not_flattered_where_there_is_nothing():
    flattered, honest = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        x, errors = rng.normal(size=(400, 5)), (rng.random(400) < 0.3).astype(float)
        searched, everybody = np.arange(400) < 200, np.ones(400, dtype=bool)
        space = Space(x, x[200:])
        found = extend(
            space, [(np.arange(400) < 10, everybody)], everybody, searched, everybody[200:], errors[200:]
        )
        rows = honest_rows(found, everybody[200:], errors[200:])
        if 0 < rows.sum() < 200:
            honest.append(errors[200:][rows].mean())
            flattered.append(errors[200:][found.tested_scores >= found.threshold].mean())
    assert np.mean(flattered) > 0.36
    assert np.mean(honest) == pytest.approx(0.3, abs=0.03)
