"""Held-out confirmation: the rank test against scipy and brute force, verdicts, intervals and the split."""

from __future__ import annotations

from itertools import combinations, permutations, product
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom, binomtest, rankdata, ranksums, sem, skew
from scipy.stats import t as student

from weakspot.evaluation import Evidence, confirm, held_out
from weakspot.evaluation.contrasts import loss_contrast
from weakspot.evaluation.permutations import permutation_p
from weakspot.evaluation.rank_test import RankedLosses
from weakspot.evaluation.sign_flips import sign_flip_p


def some(
    seed: int = 0, n: int = 400, inside: int = 60, worse: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Memberships (1, n) of one slice, losses that are `worse` times as high in it, and labels."""
    random = np.random.default_rng(seed)
    w = np.zeros((1, n))
    w[0, :inside] = 1
    labels = random.integers(0, 4, n)
    losses = random.exponential(size=n) * (1 + labels) * np.where(w[0] > 0, worse, 1)
    return w, losses, labels


def only(*given: Any, **more: Any) -> Evidence:
    (evidence,) = confirm(*given, **more)
    return evidence


def brute_force(
    w: np.ndarray, losses: np.ndarray, codes: np.ndarray, counts: np.ndarray
) -> tuple[float, float]:
    """The shares of all assignments of losses within strata that reach the observed and the largest statistic."""
    scores, excess = np.empty(len(w)), np.empty(len(w))
    for code in set(codes.tolist()):
        rows = np.flatnonzero(codes == code)
        below, equal = (
            (losses[rows, None] > losses[rows]).sum(1),
            (losses[rows, None] == losses[rows]).sum(1),
        )
        scores[rows] = (below + (equal + 1) / 2) / (len(rows) + 1) - 0.5
        excess[rows] = counts[rows] * (w[rows] - np.average(w[rows], weights=counts[rows]))
    blocks = [np.flatnonzero(codes == code) for code in sorted(set(codes.tolist()))]
    totals = np.array(
        [
            sum(excess[rows] @ scores[list(chosen)] for rows, chosen in zip(blocks, choice, strict=True))
            for choice in product(*(permutations(rows.tolist()) for rows in blocks))
        ]
    )
    observed = excess @ scores
    return float(np.mean(totals >= observed - 1e-9)), float(np.mean(totals >= totals.max() - 1e-9))


def test_without_labels_and_ties_the_p_value_equals_scipys_rank_sum_test() -> None:
    w, losses, _ = some(n=1000, inside=150, worse=1.15)
    told = ranksums(losses[:150], losses[150:], alternative="greater").pvalue
    found = only(w, losses)
    assert 0.001 < told < 0.2
    assert found.p == pytest.approx(told, rel=1e-9)
    assert found.p == found.p_unstratified


CASES = {
    "one stratum": ([1, 1, 1, 0, 0, 0, 0, 0], [3, 9, 8, 1, 2, 4, 5, 0], [0] * 8, None),
    "two strata": ([1, 1, 0, 0, 0, 1, 1, 0, 0], [9, 3, 1, 2, 4, 7, 6, 5, 0], [0] * 5 + [1] * 4, None),
    "ties": ([1, 1, 1, 0, 0, 1, 0, 0], [1, 1, 0, 0, 0, 1, 1, 0], [0] * 5 + [1] * 3, None),
    "soft": ([0.9, 0.2, 0.5, 0, 0, 0.3, 0.7, 0], [5, 1, 4, 3, 2, 1, 2, 0], [0] * 5 + [1] * 3, None),
    "counts": ([1, 0.5, 0, 1, 0, 1, 0, 0], [5, 1, 4, 3, 2, 1, 2, 0], [0] * 5 + [1] * 3, [3, 1, 1, 2, 5, 1, 2, 1]),
    "a row alone": ([1, 1, 0, 0, 1, 1], [4, 2, 1, 3, 9, 5], [0, 0, 0, 0, 1, 2], None),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_p_value_is_the_share_of_all_assignments_within_strata(case: str) -> None:
    w, losses, codes = (np.array(values, dtype=float) for values in CASES[case][:3])
    counts = np.array(CASES[case][3] or np.ones(len(w)), dtype=float)
    told, smallest = brute_force(w, losses, codes, counts)
    ranked = RankedLosses.within(losses, codes.astype(np.int64))
    excess = ranked.excess(w, counts)
    assert ranked.smallest_p(excess) == pytest.approx(smallest, rel=1e-9)
    found = [ranked.p_value(excess, draws=200_000, seed=seed) for seed in range(50)]
    assert found[0] == pytest.approx(told, rel=0.2)  # draws stop after four hundred hits: ± 5 % each
    assert np.mean(found) == pytest.approx(told, rel=0.03)


@pytest.mark.parametrize("binary", [False, True])
def test_the_curve_for_many_rows_agrees_with_permutations(binary: bool) -> None:
    random = np.random.default_rng(3)
    n = 6000
    codes = random.integers(0, 5, n)
    w = np.where(random.random(n) < 0.3, random.random(n), 0.0)
    losses = random.random(n) + 0.02 * w
    if binary:
        losses = (random.random(n) < 0.25 + 0.03 * w).astype(float)
    ranked = RankedLosses.within(losses, codes)
    excess = ranked.excess(w, np.ones(n))
    curve = ranked.p_value(excess, draws=0, seed=0)  # without any draw, permutations would give 1
    permuted = permutation_p(excess, ranked.scores, ranked.starts, ranked.sizes, draws=40_000, seed=0)
    assert 0.001 < curve < 0.2
    assert curve == pytest.approx(permuted, rel=0.25)


def test_labels_wholly_inside_do_not_add_to_the_number_of_rows_tested() -> None:
    codes = np.repeat([0, 1], [500, 40])
    w = np.where(codes == 0, 1.0, 0.0)
    w[-3:] = 1
    losses = np.random.default_rng(0).random(540)
    losses[-3:] = [2.0, 0.9, 3.0]
    ranked = RankedLosses.within(losses, codes)
    excess = ranked.excess(w, np.ones(540))
    assert ranked.p_value(excess, draws=0, seed=0) == 1.0  # no curve for three rows among forty
    ranks = rankdata(losses[-40:])
    told = np.mean([sum(three) >= ranks[-3:].sum() for three in combinations(ranks, 3)])
    assert ranked.p_value(excess, draws=200_000, seed=0) == pytest.approx(told, rel=0.2)


def test_increasing_transforms_of_losses_within_a_label_keep_the_p_value() -> None:
    w, losses, labels = some(worse=1.4)
    changed = np.choose(labels, [losses, np.sqrt(losses), 100 + losses**3, np.log(losses)])
    before, after = only(w, losses, labels=labels), only(w, changed, labels=labels)
    assert before.p == after.p
    assert before.p_unstratified != after.p_unstratified


@pytest.mark.parametrize("inside", [12, 200])
def test_the_order_of_rows_changes_nothing(inside: int) -> None:
    w, losses, labels = some(inside=inside, worse=1.4)
    w[0] *= np.random.default_rng(0).random(w.shape[1])
    order = np.random.default_rng(1).permutation(len(losses))
    correct = losses < 2
    counts = np.random.default_rng(2).integers(1, 4, len(losses)).astype(float)
    before = only(w, losses, correct, labels, counts)
    after = only(w[:, order], losses[order], correct[order], labels[order], counts[order])
    assert before.p == pytest.approx(after.p, rel=1e-12)
    assert before.verdict == after.verdict
    assert before.loss is not None
    assert after.loss is not None
    assert before.loss.inside == pytest.approx(after.loss.inside, rel=1e-12)
    assert before.loss.interval == pytest.approx(after.loss.interval, rel=1e-12)


def verdict_of(case: str) -> str:
    random = np.random.default_rng(5)
    n = 400
    w, labels, losses = np.zeros((1, n)), np.arange(n) % 4, random.exponential(size=n)
    hard = labels == 3
    more: dict[str, Any] = {}
    if case == "worse within labels":
        w[0, :60], losses[:60] = 1, 3 * losses[:60]
    elif case == "like the rest":
        w[0, :60] = 1
    elif case == "all of a hard label":
        w[0, hard], losses[hard] = 1, 3 * losses[hard]
    elif case == "all of a label like others":
        w[0, hard] = 1
    elif case == "mostly of a hard label":
        w[0, hard], losses[hard] = random.random(hard.sum()), 3 * losses[hard]
    elif case == "worse within an easy label, better than the rest":
        easy = np.flatnonzero(labels == 0)
        w[0, easy[:50]] = 1
        losses[easy[:50]] = 0.02 * losses[easy[:50]] + 0.01
        losses[easy[50:]] *= 0.001
    elif case == "four rows":
        w[0, :4], losses[:4] = 1, 99
    elif case == "many rows, hardly inside but one":
        w[0, :300], w[0, 0], losses[:300] = 0.001, 1, 99
    elif case == "nothing inside":
        pass
    elif case == "a label for each row":
        w[0, :60], losses[:60], labels = 1, 99, np.arange(n)
    elif case == "all inside":
        w[:] = 1
    elif case == "all wrong where nearly all are":
        w[0, :10], losses = 1, np.where(np.arange(n) % 10 == 9, 0.0, 1.0)
        losses[:10], labels = 1, np.zeros(n, dtype=int)
    elif case == "equal losses":
        w[0, :60], losses = 1, np.full(n, 0.7)
    elif case == "better, as sought":
        w[0, :60], losses[:60], more = 1, losses[:60] / 3, {"seeks": "better"}
    elif case == "worse, but better is sought":
        w[0, :60], losses[:60], more = 1, 3 * losses[:60], {"seeks": "better"}
    return only(w, losses, labels=labels, **more).verdict


@pytest.mark.parametrize(
    ("case", "verdict"),
    {
        "worse within labels": "confirmed",
        "like the rest": "not_confirmed",
        "all of a hard label": "explained_by_label",
        "all of a label like others": "not_confirmed",
        "mostly of a hard label": "explained_by_label",
        "worse within an easy label, better than the rest": "not_confirmed",
        "four rows": "too_few",
        "many rows, hardly inside but one": "too_few",
        "nothing inside": "too_few",
        "a label for each row": "too_few",
        "all inside": "not_confirmed",
        "all wrong where nearly all are": "too_few",
        "equal losses": "not_confirmed",
        "better, as sought": "confirmed",
        "worse, but better is sought": "not_confirmed",
    }.items(),
)
def test_each_kind_of_slice_has_its_verdict(case: str, verdict: str) -> None:
    assert verdict_of(case) == verdict


def test_p_values_are_corrected_for_the_tested_slices_only() -> None:
    random = np.random.default_rng(0)
    losses, labels = random.exponential(size=400), random.integers(0, 3, 400)
    sizes = [40, 2, 60, 3, 80, 100]
    w = np.array([np.isin(np.arange(400), random.choice(400, size, replace=False)) for size in sizes], float)
    losses[w[4] > 0] *= 1.6
    found = confirm(w, losses, labels=labels)
    tested = [e for e, size in zip(found, sizes, strict=True) if size > 3]
    assert [e.p for e in found if e not in tested] == [None, None]
    for p, corrected in (("p", "p_corrected"), ("p_unstratified", "p_unstratified_corrected")):
        values = np.array([getattr(e, p) for e in tested])
        k, order = len(values), np.argsort(values)
        steps = (
            values[order] * k * sum(1 / i for i in range(1, k + 1)) / np.arange(1, k + 1)
        )  # Benjamini & Yekutieli
        told = np.empty(k)
        told[order] = np.minimum(np.minimum.accumulate(steps[::-1])[::-1], 1)
        assert [getattr(e, corrected) for e in tested] == pytest.approx(told)


def test_without_losses_the_errors_are_tested() -> None:
    w, losses, labels = some(worse=2.0)
    correct = losses < np.median(losses)
    by_errors, by_losses = only(w, None, correct, labels), only(w, 1.0 - correct, correct, labels)
    assert by_errors.p == by_losses.p
    assert by_errors.accuracy == by_losses.accuracy
    assert by_errors.loss is None


def test_counts_are_repeated_rows_in_every_mean() -> None:
    w, losses, labels = some(worse=1.5)
    w[0] *= np.random.default_rng(0).random(w.shape[1])
    correct, counts = losses < 2, np.random.default_rng(1).integers(1, 5, len(losses))
    counted = only(w, losses, correct, labels, counts.astype(float))
    repeated = only(*(np.repeat(values, counts, axis=-1) for values in (w, losses, correct, labels)))
    for a, b in ((counted.loss, repeated.loss), (counted.accuracy, repeated.accuracy)):
        assert a is not None
        assert b is not None
        assert (a.inside, a.outside, a.expected) == pytest.approx((b.inside, b.outside, b.expected))
    assert counted.lift == pytest.approx(repeated.lift)


def test_counts_add_no_evidence_but_copied_rows_do() -> None:
    w, losses, labels = some(worse=1.2)
    once, tenfold = only(w, losses, labels=labels), only(w, losses, labels=labels, counts=np.full(400, 10.0))
    copied = only(np.repeat(w, 10, axis=1), np.repeat(losses, 10), labels=np.repeat(labels, 10))
    assert (tenfold.p, tenfold.n_effective) == pytest.approx((once.p, once.n_effective))
    assert tenfold.loss is not None
    assert once.loss is not None
    assert tenfold.loss.interval == pytest.approx(once.loss.interval)
    assert copied.p is not None
    assert once.p is not None
    assert copied.p < 0.1 * once.p


def test_losses_that_rise_with_counts_confirm_no_random_slice() -> None:
    confirmed = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        counts = random.integers(1, 20, 300).astype(float)
        w = (random.random((1, 300)) < 0.5).astype(float)
        confirmed += only(w, counts + random.exponential(size=300), counts=counts).verdict == "confirmed"
    assert confirmed <= binom.ppf(0.999, 200, 0.05)


def test_intervals_of_hard_memberships_equal_scipys() -> None:
    w, losses, labels = some(inside=37, worse=1.5)
    correct = losses < 2
    found = only(w, losses, correct, labels)
    wilson = binomtest(int(correct[:37].sum()), 37).proportion_ci(method="wilson")
    assert found.accuracy is not None
    assert found.accuracy.interval == pytest.approx((wilson.low, wilson.high))


def halls_interval(values: np.ndarray) -> tuple[float, float]:
    """Hall's interval of equally weighted values, by solving his cubic (1992, equation 2.3) numerically."""
    n, error, skewness = len(values), sem(values), skew(values)

    def cubic(t: float) -> float:
        a = skewness / np.sqrt(n)
        return float(t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6)

    limits = []
    for probability in (0.975, 0.025):
        quantile = student.ppf(probability, n - 1)
        limits.append(
            values.mean() - error * brentq(lambda t, q=quantile: cubic(t) - q, -1e4, 1e4, xtol=1e-13)
        )
    return limits[0], limits[1]


@pytest.mark.parametrize("inside", [3, 10, 37, 300])
def test_the_interval_of_a_loss_equals_halls(inside: int) -> None:
    w, losses, _ = some(inside=inside, worse=1.5)
    found = only(w, losses).loss
    assert found is not None
    low, high = halls_interval(losses[:inside])
    assert found.interval == pytest.approx((max(low, losses.min()), min(high, losses.max())), rel=1e-9)
    assert low > losses.min() or high < losses.max()


def test_the_interval_of_symmetric_values_equals_students() -> None:
    values = np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9])
    found = loss_contrast(
        np.append(values, [-99, 99]), np.repeat([1.0, 0], [9, 2]), np.repeat([0.0, 1], [9, 2]), None
    )
    assert found.interval == pytest.approx(student.interval(0.95, 8, 5.0, sem(values)))


def test_equal_losses_have_an_interval_of_zero_width() -> None:
    found = loss_contrast(
        np.array([2.0, 2, 2, 0, 9]), np.repeat([1.0, 0], [3, 2]), np.repeat([0.0, 1], [3, 2]), None
    )
    assert found.interval == (2.0, 2.0)


@pytest.mark.parametrize(
    ("kind", "least", "gain"),
    [("squares", 0.92, 0.015), ("cross-entropy", 0.88, 0.05), ("symmetric", 0.93, -0.02)],
)
def test_intervals_of_skewed_losses_cover_the_truth_more_often_than_students(
    kind: str, least: float, gain: float
) -> None:
    """Twenty of 400 losses are inside; the truth is the mean of a million. Memberships are soft for every other set."""

    def draw(random: np.random.Generator, n: int) -> np.ndarray:
        if kind == "cross-entropy":  # a fifth is misclassified
            return np.logaddexp(0, random.exponential(2, n) * np.where(random.random(n) < 0.2, 1, -1))
        values = random.normal(size=n)
        return values**2 if kind == "squares" else 9 + values

    truth = draw(np.random.default_rng(1), 1_000_000).mean()
    hits = of_students = 0
    for seed in range(1000):
        random = np.random.default_rng([2, seed])
        losses, inside = draw(random, 400), np.repeat([1.0, 0], [20, 380])
        inside[:40] *= 1.0 if seed % 2 else random.random(40)
        found = loss_contrast(losses, inside, 1 - inside, None)
        assert found.interval is not None
        assert found.interval[0] >= 0
        hits += found.interval[0] <= truth <= found.interval[1]
        low, high = student.interval(0.95, 19, losses[:20].mean(), sem(losses[:20]))
        of_students += low <= truth <= high
    assert hits >= 1000 * least
    assert hits - of_students >= 1000 * gain


def test_intervals_of_soft_memberships_keep_their_coverage() -> None:
    held = {"accuracy": 0, "loss": 0}
    for seed in range(400):
        random = np.random.default_rng(seed)
        w = random.random((1, 60))
        correct, losses = random.random(60) < 0.7, random.gamma(4.0, 0.25, 60)
        found = only(w, losses, correct)
        for name, truth in (("accuracy", 0.7), ("loss", 1.0)):
            low, high = getattr(found, name).interval
            held[name] += low <= truth <= high
    assert all(binom.ppf(0.001, 400, 0.95) <= times for times in held.values())
    assert all(times < 400 for times in held.values())


def test_the_expected_loss_reweights_the_outside_to_the_labels_inside() -> None:
    w = np.array([[1, 1, 1, 0.5, 0, 0, 0, 0, 0, 1]])
    labels = np.array(list("aaabbaabbc"))  # no c is outside, so it is left out
    losses = np.array([9, 9, 9, 4, 2, 1, 3, 8, 8, 5.0])
    found = only(w, losses, labels=labels).loss
    assert found is not None
    of_a, of_b = (1 + 3) / 2, (0.5 * 4 + 2 + 8 + 8) / 3.5
    assert found.expected == pytest.approx((3 * of_a + 0.5 * of_b) / 3.5)
    assert found.inside == pytest.approx((9 * 3 + 2 + 5) / 4.5)
    assert found.outside == pytest.approx((2 + 2 + 1 + 3 + 8 + 8) / 5.5)


def test_the_lift_is_the_ratio_of_errors_inside_to_outside() -> None:
    w = np.array([[1.0, 1, 1, 1, 0, 0, 0, 0, 0, 0]])
    correct = np.array([0, 0, 0, 1, 0, 1, 1, 1, 1, 1], dtype=bool)
    assert only(w, None, correct).lift == pytest.approx(0.75 / (1 / 6))
    assert only(w, np.where(w[0] > 0, 6.0, 4.0)).lift == pytest.approx(1.5)
    assert only(w, None, correct | (w[0] == 0)).lift is None


def test_no_slices_give_no_evidence() -> None:
    assert confirm(np.empty((0, 5)), np.arange(5.0)) == []


HALF = np.full((1, 4), 0.5)
ZEROS = np.zeros(4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"memberships": np.zeros((1, 0)), "losses": np.zeros(0)}, "at least one row"),
        ({"memberships": np.full((1, 4), 2.0)}, "row 0 of slice 1 is 2, outside 0 to 1"),
        ({"memberships": np.array([[0, 1, np.nan, 0]])}, "row 2 of slice 1 is nan"),
        ({"losses": np.zeros(3)}, r"losses have shape \(3,\), but memberships cover 4 rows"),
        ({"losses": np.array([0, 1, np.inf, 0])}, "losses: row 2 is inf"),
        ({"losses": None}, "nothing to test"),
        ({"correct": np.ones(5, dtype=bool)}, r"correct have shape \(5,\)"),
        ({"labels": np.zeros((4, 2))}, "one value for each of 4 rows"),
        ({"counts": np.array([1.0, 0, 1, 1])}, "counts: row 1 is not positive"),
        ({"groups": ["a", "b"]}, "2 groups, but memberships cover 4 rows"),
        ({"seeks": "higher"}, "seeks='higher' is unknown; choose worse or better"),
        ({"level": 0.0}, "level=0.0 must lie between 0 and 1"),
    ],
)
def test_invalid_input_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        confirm(**{"memberships": HALF, "losses": ZEROS, **given})


def test_the_split_depends_on_ids_alone() -> None:
    ids = np.array([f"example-{i}" for i in range(4000)])
    held = held_out(ids, 0.3)
    assert held.mean() == pytest.approx(0.3, abs=0.025)
    order = np.random.default_rng(0).permutation(4000)[:2500]
    assert np.array_equal(held_out(ids[order], 0.3), held[order])
    assert (held <= held_out(ids, 0.5)).all()  # a larger share holds out the same rows and more


def test_rows_of_one_group_stay_on_one_side() -> None:
    random = np.random.default_rng(0)
    groups = random.integers(0, 500, 4000).astype(object)
    groups[:1000] = None
    held = held_out(np.arange(4000).astype(str), 0.5, groups)
    sides = {group: set(held[groups == group].tolist()) for group in set(groups[1000:])}
    assert all(len(side) == 1 for side in sides.values())
    assert {True, False} == set.union(*sides.values())
    assert held[:1000].mean() == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(
    ("share", "groups", "message"),
    [(0.0, None, "share is 0"), (1.0, None, "share is 1"), (0.5, ["a"], "1 groups for 3 rows")],
)
def test_an_impossible_split_is_refused(share: float, groups: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        held_out(["a", "b", "c"], share, groups)


def in_groups(
    seed: int = 0, n: int = 300, groups: int = 9, worse: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One slice of rows from some groups, losses with a part shared within groups, labels and groups."""
    random = np.random.default_rng(seed)
    of_group, labels = random.integers(0, groups, n), random.integers(0, 3, n)
    w = (random.random((1, n)) < random.random(groups)[of_group]).astype(float)
    losses = random.exponential(size=groups)[of_group] + random.exponential(size=n) + labels + worse * w[0]
    return w, losses, labels, of_group


@pytest.mark.parametrize("worse", [0.0, 0.5, 1.5])
def test_the_p_value_of_groups_equals_an_enumeration_of_all_signs(worse: float) -> None:
    w, losses, labels, of_group = in_groups(worse=worse)
    parts = np.zeros(9)
    for label in range(3):
        rows = np.flatnonzero(labels == label)
        scores = rankdata(losses[rows]) / (len(rows) + 1) - 0.5
        np.add.at(parts, of_group[rows], (w[0, rows] - w[0, rows].mean()) * scores)
    sums = np.array(list(product([1, -1], repeat=9))) @ parts
    told = float(np.mean(sums >= parts.sum() - 1e-9))
    ranked = RankedLosses.within(losses, labels)
    found = ranked.parts(ranked.excess(w[0], np.ones(300)), of_group)
    assert found == pytest.approx(parts)
    p = np.mean([sign_flip_p(found, 100_000, seed) for seed in range(20)])
    assert p == pytest.approx(told, rel=0.05)
    both = only(w, losses, labels=labels, groups=of_group)
    of_rows = only(w, losses, labels=labels)
    assert both.p == pytest.approx(max(of_rows.p or 0, sign_flip_p(found, 9_999, 0)))
    assert both.p_unstratified is not None
    assert of_rows.p_unstratified is not None
    assert both.p_unstratified >= of_rows.p_unstratified


def test_the_curve_for_many_groups_agrees_with_flipped_signs() -> None:
    parts = np.random.default_rng(0).normal(0.1, size=400)
    g = np.arange(400)
    drawn = permutation_p(
        np.tile([1.0, 0.0], 400),
        np.stack([parts, -parts], axis=1).ravel(),
        2 * g,
        np.full(400, 2),
        draws=40_000,
        seed=0,
    )
    assert 0.001 < drawn < 0.2
    assert sign_flip_p(parts, draws=0, seed=0) == pytest.approx(drawn, rel=0.15)


def test_a_slice_without_contributions_has_a_p_value_of_one() -> None:
    assert sign_flip_p(np.zeros(7), 999, 0) == 1.0


def test_groups_of_one_row_each_change_nothing() -> None:
    w, losses, labels, _ = in_groups(worse=0.3)
    for groups in ([None] * 300, list(range(300)), [*range(150), *[None] * 150]):
        assert only(w, losses, labels=labels, groups=groups) == only(w, losses, labels=labels)


def test_rows_without_a_group_are_groups_of_their_own() -> None:
    w, losses, labels, of_group = in_groups(worse=0.3)
    some = [None if group < 4 else group for group in of_group.tolist()]
    named = [f"alone {row}" if group is None else group for row, group in enumerate(some)]
    assert only(w, losses, labels=labels, groups=some) == only(w, losses, labels=labels, groups=named)


def test_the_names_of_groups_and_the_order_of_rows_change_nothing() -> None:
    w, losses, labels, of_group = in_groups(groups=120, worse=1.0)
    order = np.random.default_rng(1).permutation(300)
    before = only(w, losses, labels=labels, groups=of_group)
    after = only(
        w[:, order], losses[order], labels=labels[order], groups=[f"patient {g}" for g in of_group[order]]
    )
    assert before.p == pytest.approx(after.p, rel=1e-12)


@pytest.mark.parametrize(("patients", "verdict"), [(4, "too_few"), (12, "confirmed")])
def test_a_few_patients_prove_nothing_however_many_rows_they_have(patients: int, verdict: str) -> None:
    of_patient, w = np.repeat(np.arange(24), 20), np.zeros((1, 480))
    w[0, of_patient < patients] = 1
    losses = np.random.default_rng(0).exponential(size=480) + 2 * w[0]
    assert only(w, losses).verdict == "confirmed"
    found = only(w, losses, groups=of_patient)
    assert found.verdict == verdict
    assert (found.p is None) == (verdict == "too_few")
