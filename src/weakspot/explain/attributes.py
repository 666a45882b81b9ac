"""Finds attribute values that are more frequent in a slice than in the rest of the data, to name it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Num

from weakspot.predictions.attributes import Categorical, categorise

OTHERS = "(others)"
"""The value that sums up all values that are not listed."""

_LEAST_LIFT = 1.2  # a value with a lower lift does not name a slice
_CANDIDATES_PER_LINE = 4  # how many times as many lines as are returned
_PRIOR = 0.5  # Jeffreys' prior: an empty cell counts as half an example when values are ranked


@dataclass(frozen=True)
class Enrichment:
    """Describes one value of one attribute that is more frequent inside a slice than outside.

    Attributes:
        attribute: The attribute's name.
        value: The value.
        share_inside: The weighted share of the value inside, in [0, 1].
        share_outside: The weighted share of the value outside, in [0, 1].
        weight: Σ c·w over the examples with this value, in examples.
        accuracy: The accuracy on the examples with this value inside the slice, if known; it shows which of two values
            in one slice fails.
        same: (attribute, value) pairs that exactly the same examples have: other names of this group.
    """

    attribute: str
    value: str
    share_inside: float
    share_outside: float
    weight: float
    accuracy: float | None = None
    same: tuple[tuple[str, str], ...] = ()

    @property
    def lift(self) -> float:
        """How many times more frequent the value is inside; infinite if it occurs only there."""
        return self.share_inside / self.share_outside if self.share_outside > 0 else math.inf

    @property
    def telling(self) -> bool:
        """Whether the lift is large enough to name the slice by the value."""
        return self.lift >= _LEAST_LIFT


@dataclass(frozen=True)
class Distribution:
    """Holds the weighted shares of all values of one attribute inside a slice and outside; each side sums to one."""

    attribute: str
    values: tuple[str, ...]
    inside: tuple[float, ...]
    outside: tuple[float, ...]


@dataclass(frozen=True)
class Accuracy:
    """Describes how often a model is right on the examples with one value of an attribute.

    Attributes:
        attribute: The attribute's name.
        value: The value.
        size: How many examples have it.
        accuracy: The share of them that is right.
        same: (attribute, value) pairs that exactly the same examples have.
        interval: The 95 % confidence interval of this share; None if it was not computed.
    """

    attribute: str
    value: str
    size: float
    accuracy: float
    same: tuple[tuple[str, str], ...] = ()
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class MeanError:
    """Describes how large a model's errors are on the examples with one value of an attribute.

    Attributes:
        attribute: The attribute's name.
        value: The value.
        size: How many examples have it.
        error: The task's own measure (RMSE, MAE) on them.
        same: (attribute, value) pairs that exactly the same examples have.
        interval: The 95 % confidence interval of `error`; None if it was not computed.
    """

    attribute: str
    value: str
    size: float
    error: float
    same: tuple[tuple[str, str], ...] = ()
    interval: tuple[float, float] | None = None


_Line = TypeVar("_Line", Enrichment, Accuracy, MeanError)
_Rows = tuple[Categorical, int]  # an attribute and the code of a value: the examples that have it


def over_represented(
    weights: Float[np.ndarray, " n"],
    attributes: pa.Table,
    counts: Num[np.ndarray, " n"] | None = None,
    top: int = 10,
    correct: Bool[np.ndarray, " n"] | None = None,
) -> list[Enrichment]:
    """Rank the attribute values of a table that are over-represented in a slice; see `rank_by_enrichment`.

    For several slices of one table it is cheaper to call `categorise` once, and `rank_by_enrichment` for each slice.
    """
    return rank_by_enrichment(weights, categorise(attributes), counts, top, correct)


def rank_by_enrichment(
    weights: Float[np.ndarray, " n"],
    attributes: Sequence[Categorical],
    counts: Num[np.ndarray, " n"] | None = None,
    top: int = 10,
    correct: Bool[np.ndarray, " n"] | None = None,
) -> list[Enrichment]:
    """Rank the values with a lift above one by share_inside · log(lift).

    This is the value's term of the Kullback-Leibler divergence of the attribute inside from outside, in nats: large
    only for a strong lift on a real share, so neither a value that is everywhere nor a rare accident comes first. Only
    the ranking smooths both shares by half an example (Jeffreys' prior), which keeps values unseen outside finite; the
    reported shares and lifts are not smoothed. Ties keep the order of the columns and, within a column, of the values.
    Values that exactly the same examples have share one line.

    Args:
        weights: (n,) memberships in [0, 1].
        attributes: The attributes, encoded.
        counts: (n,) how many examples each row stands for; None for ones.
        top: How many values to return at most.
        correct: (n,) whether the model is right.

    Returns:
        The values, the best name first; empty if nothing is inside or nothing is outside.
    """
    inside, outside = _weighted_counts(weights, counts)
    total_inside, total_outside = float(inside.sum()), float(outside.sum())
    if total_inside <= 0 or total_outside <= 0:
        return []

    scored: list[tuple[float, Enrichment, _Rows]] = []
    for attribute in attributes:
        mass_inside, mass_outside = _sums_by_value(attribute, inside), _sums_by_value(attribute, outside)
        likely = (mass_inside + _PRIOR) / (total_inside + 2 * _PRIOR)
        elsewhere = (mass_outside + _PRIOR) / (total_outside + 2 * _PRIOR)
        scores = np.round(mass_inside / total_inside * np.log(likely / elsewhere), 12)
        right = None if correct is None else _sums_by_value(attribute, inside * correct)
        for code in np.flatnonzero(
            (scores > 0) & (mass_inside * total_outside > mass_outside * total_inside)
        ):
            share_inside = float(mass_inside[code]) / total_inside
            share_outside = float(mass_outside[code]) / total_outside
            result = Enrichment(
                attribute=attribute.name,
                value=attribute.values[code],
                share_inside=share_inside,
                share_outside=share_outside,
                weight=float(mass_inside[code]),
                accuracy=None if right is None else float(right[code] / mass_inside[code]),
            )
            scored.append((float(scores[code]), result, (attribute, int(code))))
    scored.sort(key=lambda line: -line[0])
    return _merge_same([(result, rows) for _, result, rows in scored], top)


def distributions(
    weights: Float[np.ndarray, " n"],
    attributes: Sequence[Categorical],
    counts: Num[np.ndarray, " n"] | None = None,
    top: int = 12,
) -> list[Distribution]:
    """Compute the distribution of every attribute inside and outside, its values in their own order.

    For an attribute with more than `top` values, those with the largest share on either side are listed and the others
    are summed. The result is empty if nothing is inside or nothing is outside.

    Args:
        weights: (n,) memberships in [0, 1].
        attributes: The attributes, encoded.
        counts: (n,) how many examples each row stands for; None for ones.
        top: How many values of an attribute to list at most.
    """
    inside, outside = _weighted_counts(weights, counts)
    if inside.sum() <= 0 or outside.sum() <= 0:
        return []
    result = []
    for attribute in attributes:
        values = attribute.values
        shares = np.array([_sums_by_value(attribute, mass) / mass.sum() for mass in (inside, outside)])
        if len(values) > top:
            largest = np.sort(np.argsort(-shares.max(axis=0), kind="stable")[: top - 1])
            rest = 1 - shares[:, largest].sum(axis=1, keepdims=True)
            values = (*(values[code] for code in largest), OTHERS)
            shares = np.concatenate([shares[:, largest], np.maximum(rest, 0)], axis=1)
        result.append(
            Distribution(attribute.name, values, tuple(shares[0].tolist()), tuple(shares[1].tolist()))
        )
    return result


def accuracies(
    attributes: Sequence[Categorical],
    correct: Bool[np.ndarray, " n"],
    counts: Num[np.ndarray, " n"] | None = None,
    top: int | None = None,
    least: float | int = 0,
    interval: Callable[[float, float], tuple[float, float]] | None = None,
) -> list[Accuracy]:
    """Compute the accuracy on each value of all attributes, the lowest first; ties keep the columns' order.

    Args:
        attributes: The attributes, encoded.
        correct: (n,) whether the model is right.
        counts: (n,) how many examples each row stands for.
        top: How many lines to return at most; values that exactly the same examples have then share one line.
        least: The fewest examples of a listed value.
        interval: Computes the interval of an accuracy from it and the effective number of rows (Kish 1965).
    """
    c, _ = _weighted_counts(np.ones(len(correct)), counts)
    result: list[tuple[Accuracy, _Rows]] = []
    for attribute in attributes:
        sizes, right, squares = (_sums_by_value(attribute, mass) for mass in (c, c * correct, c * c))
        for code in np.flatnonzero((sizes > 0) & (sizes >= least)):
            size, share = float(sizes[code]), float(right[code] / sizes[code])
            bounds = None if interval is None else interval(share, size * size / float(squares[code]))
            line = Accuracy(attribute.name, attribute.values[code], size, share, interval=bounds)
            result.append((line, (attribute, int(code))))
    result.sort(key=lambda line: line[0].accuracy)
    return [line for line, _ in result] if top is None else _merge_same(result, top)


def mean_errors(
    attributes: Sequence[Categorical],
    errors: Float[np.ndarray, " n"],
    counts: Num[np.ndarray, " n"],
    top: int,
    least: float | int,
) -> list[MeanError]:
    """Compute the mean error on each value of all attributes, the largest first; ties keep the columns' order.

    Args:
        attributes: The attributes, encoded.
        errors: (n,) the error of each row.
        counts: (n,) how many examples each row stands for.
        top: How many lines to return at most; values that exactly the same examples have share one line.
        least: The fewest examples of a listed value.
    """
    result: list[tuple[MeanError, _Rows]] = []
    for attribute in attributes:
        sizes, sums = (_sums_by_value(attribute, mass) for mass in (counts, counts * errors))
        for code in np.flatnonzero((sizes > 0) & (sizes >= least)):
            line = MeanError(
                attribute.name, attribute.values[code], float(sizes[code]), float(sums[code] / sizes[code])
            )
            result.append((line, (attribute, int(code))))
    result.sort(key=lambda line: -line[0].error)
    return _merge_same(result, top)


def _merge_same(lines: list[tuple[_Line, _Rows]], top: int) -> list[_Line]:
    """Return the first `top` lines, with lines about exactly the same examples merged by `same`.

    Only the next few lines are searched for such lines, because a table may have 10^5 values.
    """
    merged: list[tuple[_Line, _Rows]] = []
    alike: dict[_Line, list[int]] = {}  # by the numbers of a line
    for line, rows in lines[: _CANDIDATES_PER_LINE * top]:
        candidates = alike.setdefault(replace(line, attribute="", value=""), [])
        same_as = next((index for index in candidates if _same_rows(rows, merged[index][1])), None)
        if same_as is not None:
            first: _Line = merged[same_as][0]
            same = (*first.same, (line.attribute, line.value))
            merged[same_as] = replace(first, same=same), merged[same_as][1]
        elif len(merged) < top:
            candidates.append(len(merged))
            merged.append((line, rows))
    return [line for line, _ in merged]


def _same_rows(one: _Rows, other: _Rows) -> bool:
    """Return whether two values have the same examples; two values of one attribute never do."""
    return one[0] is not other[0] and np.array_equal(one[0].codes == one[1], other[0].codes == other[1])


def _weighted_counts(weights: np.ndarray, counts: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return c·w and c·(1 - w), the weight of every row inside and outside."""
    w = np.asarray(weights, dtype=np.float64)
    c = np.ones_like(w) if counts is None else np.asarray(counts, dtype=np.float64)
    return c * w, c * (1 - w)


def _sums_by_value(attribute: Categorical, mass: np.ndarray) -> np.ndarray:
    if len(attribute.codes) != len(mass):
        raise ValueError(
            f"attribute {attribute.name!r} has {len(attribute.codes)} rows but there are {len(mass)} weights"
        )
    return np.bincount(attribute.codes, weights=mass, minlength=len(attribute.values))
