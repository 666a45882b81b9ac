"""The scan statistic: against an enumeration of all balls, scikit-learn's discriminant, and on data without slices."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import binom
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from weakspot import Predictions
from weakspot.evaluation.synthetic import null_predictions, planted_predictions
from weakspot.methods.discriminant import fit_discriminant
from weakspot.methods.residuals import residuals
from weakspot.methods.scan import Scan
from weakspot.methods.scan.balls import Balls, permutation_maxima
from weakspot.tasks import Classification, Multilabel, Rating, Regression


def balls(rng, n=40, sizes=(5, 9), counts=None):
    x, bad = rng.normal(size=(n, 3)), rng.random(n)
    counts = np.ones(n) if counts is None else counts
    return x, bad, counts, Balls.of(x, np.arange(n), bad, counts, sizes, np.arange(n))


@pytest.mark.parametrize("weighted", [False, True])
def test_the_statistic_equals_an_enumeration_of_all_balls(weighted):
    rng = np.random.default_rng(0)
    x, bad, counts, found = balls(rng, counts=rng.integers(1, 4, 40).astype(float) if weighted else None)
    available = rng.random(40) < 0.8
    mean = np.average(bad, weights=counts)
    spread = np.sqrt(np.average((bad - mean) ** 2, weights=counts))
    expected = []
    for size in (5, 9):
        for centre in range(40):
            order = np.argsort(((x - x[centre]) ** 2).sum(axis=1))
            inside = order[: np.searchsorted(np.cumsum(counts[order]), size) + 1]
            weight = counts[inside] @ available[inside]
            whole = counts[inside].sum()
            total = counts[inside] @ ((bad - mean) * available)[inside] / spread
            expected.append(total / np.sqrt(weight) if weight >= whole / 2 else -np.inf)
    assert_allclose(found.statistic(found.deviations[:, None], available)[:, 0], expected, rtol=1e-9)


def test_permutations_stay_within_labels_and_available_rows():
    """With two values in one group and only one in the other, the maximum of each permutation is known in advance."""
    x = np.arange(8.0)[:, None]
    bad = np.r_[np.zeros(3), 1, np.zeros(4)]
    some = Balls.of(x[:4], np.arange(4), bad, np.ones(8), (2,), np.arange(4))
    still = Balls.of(x[4:8], np.arange(4, 8), bad, np.ones(8), (2,), np.arange(4))
    available_by_label = [np.ones(4, dtype=bool), np.ones(4, dtype=bool)]
    chance = permutation_maxima([some, still], available_by_label, 200, np.random.default_rng(0))
    high, low = some.deviations[3], some.deviations[0]
    assert_allclose(chance, (high + low) / np.sqrt(2))
    available_by_label[0][3] = False
    # the ball of the last two keeps one example, the fewest allowed: its statistic is that of this example
    assert_allclose(permutation_maxima([some], available_by_label[:1], 50, np.random.default_rng(0)), low)


def test_the_discriminant_equals_scikit_learns():
    rng = np.random.default_rng(1)
    x, members = rng.normal(size=(90, 4)), np.arange(90) < 20
    x[members] += [1, 0.5, 0, 0]
    direction, offset = fit_discriminant(x, members, np.ones(90))
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(x, members)
    assert_allclose(direction, theirs.coef_[0], rtol=1e-6)
    assert_allclose(offset, theirs.intercept_[0], rtol=1e-6)


@pytest.mark.parametrize("kind", ["independent", "label"])
def test_p_values_of_noise_are_calibrated(kind):
    """On 300 sets without a slice, p ≤ .05 in 5 % and p ≤ .5 in half of them, within 99.9 % binomial limits."""
    p = np.array(
        [Scan(n_slices=1, draws=99).fit(null_predictions(kind, 300, s)).p_values_[0] for s in range(300)]
    )
    for level in (0.05, 0.5):
        low, high = binom.ppf([0.0005, 0.9995], len(p), level)
        assert low <= (p <= level).sum() <= high


def test_a_planted_slice_is_found_with_a_small_p_value():
    for seed in range(5):
        p, planted = planted_predictions(3.0, 2000, seed)
        found = Scan().fit(p)
        weights = found.slices_.weights[0]
        assert found.p_values_[0] <= 0.05
        assert weights @ planted > 0.7 * weights.sum()
        assert (np.diff(found.p_values_) >= 0).all()


def test_a_sample_of_centres_finds_the_same_slice(monkeypatch):
    """With fewer centres than examples, the same slice is found, with the p-value of the search that was run."""
    from weakspot.methods.scan import estimator

    monkeypatch.setattr(estimator, "_CENTRES", 300)
    p, planted = planted_predictions(4.0, 3000, 0)
    found = Scan(n_slices=1).fit(p)
    assert found.p_values_[0] <= 0.05
    assert found.slices_.weights[0] @ planted > 0.7 * found.slices_.weights[0].sum()


def test_residuals_are_bounded_and_follow_the_task():
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(50, 2)), rng.integers(0, 3, 50)
    outputs = rng.normal(size=(50, 3))
    probability = (np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True))[np.arange(50), labels]
    task = Classification(("a", "b", "c"))
    known = Predictions.from_arrays(x, labels=labels, outputs=outputs, task=task)
    assert_allclose(residuals(known), 1 - probability, rtol=1e-6)
    losses = Predictions.from_arrays(
        x, labels=labels, losses=-np.log(probability), predictions=labels, task=task
    )
    assert_allclose(residuals(losses), 1 - probability, rtol=1e-5)
    several = Predictions.from_arrays(
        x, labels=labels[:, None] == [0, 1, 2], outputs=outputs, task=Multilabel(task.classes)
    )
    told = np.where(labels[:, None] == [0, 1, 2], 1 - 1 / (1 + np.exp(-outputs)), 1 / (1 + np.exp(-outputs)))
    assert_allclose(residuals(several), told.mean(axis=1), rtol=1e-6)
    truth, guess = rng.normal(size=50), rng.normal(size=50)
    away = np.abs(truth - guess)
    for loss, unit in (
        ("squared", np.sqrt(np.quantile(away**2, 0.95))),
        ("absolute", np.quantile(away, 0.95)),
        ("pinball", np.quantile(away, 0.95)),
    ):
        numbers = Predictions.from_arrays(x, labels=truth, predictions=guess, task=Regression(loss=loss))
        assert_allclose(residuals(numbers), np.minimum(away / unit, 1), rtol=1e-5)
    stars = Predictions.from_arrays(x, labels=labels, outputs=outputs, task=Rating(("1", "2", "3")))
    shares = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    away = np.abs(labels - shares @ [0, 1, 2])
    assert_allclose(residuals(stars), np.minimum(away / np.sqrt(np.quantile(away**2, 0.95)), 1), rtol=1e-4)
    alone = Predictions.from_arrays(x, losses=np.arange(50.0))
    assert_allclose(residuals(alone), np.arange(50) / 49)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_slices": 2.5}, "n_slices=2.5 must be a whole number of at least 1"),
        ({"n_slices": True}, "n_slices=True must be a whole number of at least 1"),
        ({"sizes": 20}, "sizes=20 must be a list of whole numbers"),
        ({"sizes": []}, r"sizes=\[\] is empty"),
        ({"sizes": [2.5]}, "sizes=.* must be a list of whole numbers"),
    ],
)
def test_impossible_settings_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Scan(**settings).fit(planted_predictions(3.0, 300, 0)[0])


def test_a_ball_that_ties_extend_to_a_whole_label_is_dropped():
    """Nearly all examples of a label lie at one point, as in a barely trained network."""
    rng = np.random.default_rng(0)
    rows, labels = np.arange(200), np.arange(400) // 200
    for _ in range(20):
        x = rng.normal(size=(400, 3))
        x[:200] = np.maximum(9 - rows, 0)[:, None] * [
            1,
            0,
            0,
        ]  # 191 at one point, the first row farthest from it
        tied = Balls.of(x[rows], rows, rng.random(400), np.ones(400), (20, 40), rows)
        assert tied.members.shape[0] > 0
        assert tied.members.sum(axis=1).max() < 200
        found = Scan(n_slices=9, draws=0).fit(
            Predictions.from_arrays(x, losses=rng.exponential(1, 400), labels=labels)
        )
        assert np.isfinite(found.slices_.weights).all()


def test_small_sets_are_scanned_in_balls_of_a_quarter_of_a_label():
    p = planted_predictions(3.0, 300, 0)[0].take(np.arange(30))
    found = Scan(draws=0).fit(p)
    assert len(found.slices_) > 0
    x = np.arange(12.0)[:, None]
    few = Balls.of(x, np.arange(12), np.arange(12.0), np.ones(12), (20, 40), np.arange(12))
    assert few.members[0].toarray().tolist() == [[1, 1, 1, *[0] * 9]]
    with pytest.raises(ValueError, match="a scan needs 8 examples or more, and there are 7"):
        Scan().fit(p.take(np.arange(7)))


@pytest.mark.parametrize("weighted", [False, True])
def test_a_ball_grows_while_it_stays_as_bad(weighted):
    """Compare with an enumeration of all radii."""
    rng = np.random.default_rng(3)
    grew = 0
    for _ in range(50):
        x, counts = rng.normal(size=(60, 2)), np.ones(60)
        if weighted:
            counts = rng.integers(1, 4, 60).astype(float)
        bad = (np.linalg.norm(x, axis=1) < 0.8) + 0.3 * rng.random(60)
        found = Balls.of(x, np.arange(60), bad, counts, (6,), np.arange(60))
        available = rng.random(60) < 0.9
        ball, _ = found.largest(available)
        distances = found.distances_from_centre(ball, x, np.arange(60))
        assert_allclose(distances, ((x - x[found.centres[ball]]) ** 2).sum(axis=1))
        own = np.isin(np.arange(60), found.covered[found.members[ball].indices])
        least, expected = 0.9 * np.average(found.deviations[own], weights=(counts * available)[own]), own
        for radius in np.sort(distances):
            inside = distances <= radius
            as_bad = (
                np.average(found.deviations[inside], weights=(counts * available)[inside] + 1e-12) >= least
            )
            if inside.sum() >= own.sum() and counts[inside].sum() <= counts.sum() / 2 and as_bad:
                expected = inside
        assert found.grow(ball, distances, available).tolist() == (expected & available).tolist()
        grew += expected.sum() > own.sum()
    assert grew > 10


def test_equidistant_examples_are_all_inside_or_all_outside():
    """With some of the examples at 1 the ball would stay as bad, with all of them it does not."""
    x = np.repeat([0.0, 1.0, 20.0], [3, 6, 45])[:, None]
    bad = np.r_[np.ones(3), 0.95, 0.95, 0.95, np.zeros(48)]
    found = Balls.of(x, np.arange(54), bad, np.ones(54), (3,), np.arange(54))
    available = np.ones(54, dtype=bool)
    inside = found.grow(0, found.distances_from_centre(0, x, np.arange(54)), available)
    assert inside.tolist() == (np.arange(54) < 3).tolist()


def test_a_ball_grows_to_at_most_half_of_its_label():
    x = np.arange(50.0)[:, None] ** 1.01  # no two distances are equal
    bad = np.r_[np.ones(40), np.zeros(10)]
    found = Balls.of(x, np.arange(50), bad, np.ones(50), (4,), np.arange(50))
    available = np.ones(50, dtype=bool)
    inside = found.grow(0, found.distances_from_centre(0, x, np.arange(50)), available)
    assert inside.tolist() == (np.arange(50) < 25).tolist()


def test_a_failure_larger_than_every_ball_is_one_slice():
    """The failure is a fifth of a label; it does not hide a small one elsewhere."""
    rng = np.random.default_rng(4)
    large, small = np.arange(1500) < 300, (np.arange(1500) >= 300) & (np.arange(1500) < 340)
    x = rng.normal(size=(1500, 8)) + 4 * large[:, None] * np.eye(8)[0] + 4 * small[:, None] * np.eye(8)[1]
    log_odds = np.where(large, -3.0, np.where(small, -2.5, 3.0)) + 0.3 * rng.normal(size=1500)
    outputs, labels = np.column_stack([log_odds, np.zeros(1500)]), np.zeros(1500, dtype=np.int64)
    p = Predictions.from_arrays(x, labels=labels, outputs=outputs, task=Classification(("a", "b")))
    found = Scan(n_slices=3, draws=19).fit(p)
    first, *others = found.slices_.weights >= 0.5
    assert (first & large).sum() > 0.8 * large.sum()
    assert (first & ~large).sum() < 0.1 * first.sum()
    second = max(others, key=lambda inside: (inside & small).sum())
    assert (second & small).sum() > 0.5 * small.sum()
    assert (second & ~small).sum() < 0.2 * second.sum()
