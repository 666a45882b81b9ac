"""Tests whether slices are worse than other rows of the same labels, on rows that were not searched for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import isclose
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Num, Shaped
from scipy.stats import false_discovery_control

from weakspot.evaluation.contrasts import Contrast, accuracy_contrast, effective_size, loss_contrast
from weakspot.evaluation.permutations import most_draws
from weakspot.evaluation.rank_test import RankedLosses
from weakspot.evaluation.sign_flips import sign_flip_p
from weakspot.slices import Weights, as_weights

Verdict = Literal["confirmed", "explained_by_label", "not_confirmed", "too_few", "not_tested"]

VERDICTS: dict[Verdict, str] = {
    "confirmed": "confirmed",
    "explained_by_label": "may be the label",
    "not_confirmed": "not confirmed",
    "too_few": "too few to say",
    "not_tested": "not tested",
}
"""The verdicts in words, the strongest evidence first."""

LEVEL = 0.05
"""The level at which slices are confirmed, after correction for how many are tested."""

MIN_EFFECTIVE_ROWS = 5.0  # effective rows, and groups, below which nothing is tested


@dataclass(frozen=True)
class Evidence:
    """Holds the evidence of held-out rows about one slice.

    Attributes:
        verdict: "confirmed": worse than other rows of the same labels. "explained_by_label": worse than the rest, but
            not shown to be worse than other rows of the same labels. "not_confirmed": not worse than the rest, or
            perhaps only by chance. "too_few": even the most extreme result would have proved nothing. "not_tested":
            there were no held-out rows to test on (`confirm`, which needs some, never returns this).
        p: one-sided p-value of the rank test within labels; None if the slice could not be tested.
        p_corrected: the same after Benjamini and Yekutieli's correction for the number of slices tested.
        p_unstratified: one-sided p-value of the rank test among all rows, whatever their label.
        p_unstratified_corrected: the same, corrected.
        members: rows with any membership.
        n_effective: how many rows of full membership would be as informative, (Σ c·w)² / Σ (c·w)².
        accuracy: inside and outside; None without correctness, or if nothing is inside.
        loss: inside and outside; None without losses, or if nothing is inside.
        lift: the error rate inside divided by that outside (without correctness, the losses), labels disregarded; None
            if that outside is zero.
    """

    verdict: Verdict
    p: float | None
    p_corrected: float | None
    p_unstratified: float | None
    p_unstratified_corrected: float | None
    members: int
    n_effective: float
    accuracy: Contrast | None
    loss: Contrast | None
    lift: float | None


def confirm(
    memberships: Weights,
    losses: Num[np.ndarray, " n"] | None,
    correct: Shaped[np.ndarray, " n"] | None = None,
    labels: Shaped[np.ndarray, " n"] | None = None,
    counts: Num[np.ndarray, " n"] | None = None,
    seeks: Literal["worse", "better"] = "worse",
    level: float = LEVEL,
    seed: int = 0,
    groups: Sequence[object] | Shaped[np.ndarray, " n"] | None = None,
) -> list[Evidence]:
    """Test every slice on held-out rows: are losses higher inside than among other rows of the same label?

    All rows must be held out: a method finds high losses by chance in the rows it searches, and a test on those
    confirms most slices of pure noise. For the same reason a membership may use a row's embedding but neither
    its loss nor its correctness or prediction.

    The test is a stratified weighted rank test (see `weakspot.evaluation.rank_test`), with p-values corrected for the
    number of slices by Benjamini and Yekutieli (2001), since slices overlap and that correction holds whatever the
    dependence. If no slice is real, the chance that any is confirmed is below `level`. A slice is tested if at least 5
    effective rows have a label that others share, and if the most extreme result would be significant; neither depends
    on which of the losses are inside.

    `counts` act as repeated rows in every mean. In a p-value, and in an interval, they do not: a row that
    stands for five weighs five times as much, but its loss was observed once, and five copies of one
    observation are no more evidence than one. So losses are ranked and permuted by row, whatever the counts.

    Rows of one patient, camera or user are not independent observations either. With `groups`, a p-value is the larger
    of two: that of the rows, and that of a test which flips the signs of the groups' parts in the statistic (see
    `weakspot.evaluation.sign_flips`). A slice is then tested only if at least 5 effective groups lie inside, too.

    Args:
        memberships: (k, n) in [0, 1], of held-out rows.
        losses: (n,) of held-out rows; None uses the errors, 1 - correct.
        correct: (n,) bool, or None.
        labels: (n,) one value per row, classes or the bins of a number; None compares all rows with each other.
        counts: (n,) positive multiplicities; None for ones.
        seeks: "better" looks for lower losses instead, for slices found with flip.
        level: the significance level, after correction.
        seed: the seed of the permutations.
        groups: (n,) values, equal for rows that belong together; a row whose group is None stands alone. None if all
            rows do.

    Returns:
        One Evidence per slice, in their order.

    Raises:
        ValueError: if lengths differ, there are no rows or neither losses nor correctness, a value is not
            finite or a membership is outside [0, 1], or for an unknown `seeks` or a level outside (0, 1).
    """
    w = _memberships(memberships)
    n = w.shape[1]
    right = None if correct is None else _column("correct", correct, n) > 0
    y = _losses(losses, right, n)
    c = np.ones(n) if counts is None else _column("counts", counts, n)
    codes = np.zeros(n, dtype=np.int64) if labels is None else _codes(labels, n)
    together = _group_codes(groups, n)
    _check(c, seeks, level)

    shared = np.bincount(codes)[codes] > 1  # the only row of a label has no other to be compared with
    enough = np.array([_enough((c * row)[shared], together[shared]) for row in w], dtype=bool)
    severity = y if seeks == "worse" else -y
    test = partial(_test, memberships=w, counts=c, groups=together, testable=enough, level=level, seed=seed)
    p = test(RankedLosses.within(severity, codes))
    p_unstratified = p if codes.max() == 0 else test(RankedLosses.within(severity, np.zeros_like(codes)))
    corrected, corrected_unstratified = _corrected(p), _corrected(p_unstratified)

    result = []
    for j, row in enumerate(w):
        inside, outside = c * row, c * (1 - row)
        labelled = None if labels is None else codes
        loss = accuracy = None
        if inside.sum() > 0:
            loss = loss_contrast(y, inside, outside, labelled)
            accuracy = None if right is None else accuracy_contrast(right, inside, outside, labelled)
        result.append(
            Evidence(
                verdict=_verdict(
                    bool(enough[j]),
                    _differs(accuracy, loss, seeks),
                    corrected[j],
                    corrected_unstratified[j],
                    level,
                ),
                p=_nan_to_none(p[j]),
                p_corrected=_nan_to_none(corrected[j]),
                p_unstratified=_nan_to_none(p_unstratified[j]),
                p_unstratified_corrected=_nan_to_none(corrected_unstratified[j]),
                members=int((row > 0).sum()),
                n_effective=effective_size(inside),
                accuracy=accuracy,
                loss=None if losses is None else loss,
                lift=_lift(loss, accuracy),
            )
        )
    return result


def _enough(inside: Float[np.ndarray, " n"], groups: Int[np.ndarray, " n"]) -> bool:
    """Return whether enough effective rows are inside, and enough effective groups that they come from."""
    by_group = np.bincount(groups, inside) if len(groups) else np.zeros(0)
    return min(effective_size(inside), effective_size(by_group)) >= MIN_EFFECTIVE_ROWS


def _test(
    ranked: RankedLosses,
    memberships: Weights,
    counts: Float[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    testable: Bool[np.ndarray, " k"],
    level: float,
    seed: int,
) -> Float[np.ndarray, " k"]:
    """Return the p-value of every slice; NaN if the most extreme result would not reach the level."""
    draws = most_draws(len(memberships), level)
    p, grouped = np.full(len(memberships), np.nan), groups.max() + 1 < len(groups)
    for j in np.flatnonzero(testable):
        excess = ranked.excess(memberships[j], counts)
        if ranked.smallest_p(excess) <= level:
            p[j] = ranked.p_value(excess, draws, seed)
            if grouped:
                p[j] = max(p[j], sign_flip_p(ranked.parts(excess, groups), draws, seed))
    return p


def _corrected(p: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    corrected, tested = p.copy(), ~np.isnan(p)
    if tested.any():
        corrected[tested] = false_discovery_control(p[tested], method="by")
    return corrected


def _verdict(
    enough: bool, different: bool, corrected: float, corrected_unstratified: float, level: float
) -> Verdict:
    """Return the verdict; a p-value that is NaN never reaches the level."""
    if not enough:
        return "too_few"
    if not different:
        return "not_confirmed"
    if corrected <= level:
        return "confirmed"
    if corrected_unstratified <= level:
        return "explained_by_label"
    return "too_few" if np.isnan(corrected) and np.isnan(corrected_unstratified) else "not_confirmed"


def _differs(accuracy: Contrast | None, loss: Contrast | None, seeks: str) -> bool:
    """Return whether the inside is worse than the outside (or better, by `seeks`), beyond rounding errors.

    Worse means less often right or, if that is equal or unknown, a higher loss.
    """
    for contrast, sign in ((accuracy, -1), (loss, 1)):
        if contrast is None or contrast.outside is None:
            continue
        if not isclose(contrast.inside, contrast.outside, rel_tol=1e-12):
            return bool(sign * (contrast.inside - contrast.outside) > 0) == (seeks == "worse")
    return False


def _lift(loss: Contrast | None, accuracy: Contrast | None) -> float | None:
    if accuracy is not None and accuracy.outside is not None:
        inside, outside = 1 - accuracy.inside, 1 - accuracy.outside
    elif accuracy is None and loss is not None and loss.outside is not None:
        inside, outside = loss.inside, loss.outside
    else:
        return None
    return inside / outside if outside > 0 else None


def _nan_to_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _memberships(values: Weights) -> Weights:
    w = as_weights(values)
    if len(w.shape) != 2 or w.shape[1] == 0:
        raise ValueError(
            f"memberships have shape {w.shape}, but must be (slices, held-out rows), at least one row"
        )
    for j, own in enumerate(w):
        outside = ~((own >= 0) & (own <= 1))
        if outside.any():
            row = int(np.argmax(outside))
            raise ValueError(f"memberships: row {row} of slice {j + 1} is {own[row]:g}, outside 0 to 1")
    return w


def _column(name: str, values: Any, n: int) -> Float[np.ndarray, " n"]:
    column = np.asarray(values, dtype=np.float64)
    if column.shape != (n,):
        raise ValueError(f"{name} have shape {column.shape}, but memberships cover {n} rows")
    if not np.isfinite(column).all():
        row = int(np.argmin(np.isfinite(column)))
        raise ValueError(f"{name}: row {row} is {column[row]:g}; leave that row out")
    return column


def _losses(losses: Any, correct: Bool[np.ndarray, " n"] | None, n: int) -> Float[np.ndarray, " n"]:
    if losses is not None:
        return _column("losses", losses, n)
    if correct is None:
        raise ValueError("there is nothing to test: give losses, or which rows are correct")
    return 1.0 - correct


def _codes(labels: Any, n: int) -> Int[np.ndarray, " n"]:
    values = np.asarray(labels)
    if values.shape != (n,):
        raise ValueError(
            f"labels have shape {values.shape}, but must be one value for each of {n} rows; "
            "turn several labels, or numbers, into groups first"
        )
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _group_codes(groups: Any, n: int) -> Int[np.ndarray, " n"]:
    """Return the group of every row as a code; rows without one have codes of their own."""
    if groups is None:
        return np.arange(n)
    if len(groups) != n:
        raise ValueError(f"there are {len(groups)} groups, but memberships cover {n} rows")
    codes: dict[object, int] = {}
    return np.array(
        [codes.setdefault((row,) if group is None else group, len(codes)) for row, group in enumerate(groups)]
    )


def _check(counts: Float[np.ndarray, " n"], seeks: str, level: float) -> None:
    if (counts <= 0).any():
        raise ValueError(f"counts: row {int(np.argmax(counts <= 0))} is not positive")
    if seeks not in ("worse", "better"):
        raise ValueError(f"seeks={seeks!r} is unknown; choose worse or better")
    if not 0 < level < 1:
        raise ValueError(f"level={level} must lie between 0 and 1")
