"""Held-out confirmation: the rank test against scipy and brute force, verdicts, intervals and the split."""

from __future__ import annotations

from itertools import permutations, product
from typing import Any

import numpy as np
import pytest
from scipy.stats import ranksums

from weakspot.evaluation import Evidence, confirm
from weakspot.evaluation.ranks import Ranked


def some(
    seed: int = 0, n: int = 400, inside: int = 60, worse: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One slice's memberships (1, n), losses that are `worse` times as high in it, labels."""
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
    """The share of all assignments of losses within strata that reach the observed statistic, and the largest."""
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


def test_without_labels_and_ties_the_p_value_is_that_of_scipys_rank_sum_test() -> None:
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
    ranked = Ranked.within(losses, codes.astype(np.int64))
    excess = ranked.excess(w, counts)
    assert ranked.smallest_p(excess) == pytest.approx(smallest, rel=1e-9)
    found = [ranked.p_value(excess, rows=1.0, draws=200_000, seed=seed) for seed in range(50)]
    assert found[0] == pytest.approx(told, rel=0.2)  # four hundred hits end the draws: ± 5 % each
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
    ranked = Ranked.within(losses, codes)
    excess = ranked.excess(w, np.ones(n))
    curve = ranked.p_value(excess, rows=1000.0, draws=0, seed=0)
    permuted = ranked.p_value(excess, rows=1.0, draws=40_000, seed=0)
    assert 0.001 < curve < 0.2
    assert curve == pytest.approx(permuted, rel=0.25)


def test_any_increasing_change_of_the_losses_within_a_label_changes_no_p_value() -> None:
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
