"""Weighted means inside and outside a slice, with a confidence interval of the one inside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import ndtri, stdtrit

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Contrast:
    """Holds a mean inside a slice and outside it.

    Attributes:
        inside: the mean inside, each row weighted by its count times its membership.
        outside: the mean outside, weighted by count times (1 - membership); None if nothing is outside.
        interval: 95 % confidence interval of the mean inside; None with fewer than two effective rows.
        expected: the mean outside if every label had the weight there that it has inside; None without labels.
    """

    inside: float
    outside: float | None
    interval: tuple[float, float] | None
    expected: float | None = None


def accuracy_contrast(
    correct: Bool[np.ndarray, " n"],
    inside: Float[np.ndarray, " n"],
    outside: Float[np.ndarray, " n"],
    codes: Int[np.ndarray, " n"] | None,
) -> Contrast:
    """Contrast the shares of correct rows, with Wilson's interval at the effective number of rows.

    Wilson's interval (1927) stays within [0, 1] and has a width even if all rows are right, or all wrong.
    """
    values = correct.astype(np.float64)
    share = _mean(values, inside)
    interval = wilson_interval(share, effective_size(inside))
    return _contrast(values, inside, outside, codes, share, interval)


def wilson_interval(share: float, n: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return Wilson's interval of a share of n rows, as for `accuracy_contrast`."""
    z = float(ndtri((1 + confidence) / 2))
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = max(0.0, float(middle - half)), min(1.0, float(middle + half))
    return low if share > 0 else 0.0, high if share < 1 else 1.0  # exactly, whatever rounding does


def loss_contrast(
    losses: Float[np.ndarray, " n"],
    inside: Float[np.ndarray, " n"],
    outside: Float[np.ndarray, " n"],
    codes: Int[np.ndarray, " n"] | None,
) -> Contrast:
    """Contrast the mean losses, with Hall's interval for skewed values, clipped to the range of the losses.

    Most losses are small and a few are large; if a few of those are missing, the mean is too low and its standard error
    too small. Hall (1992, On the removal of skewness by transformation, J. R. Stat. Soc. B 54) transforms Student's
    statistic T by a cubic, in which the skewness λ of the mean is estimated from the third moment,

        g(T) = T + λ T² / 3 + λ² T³ / 27 + λ / 6,

    and the interval contains all means whose g(T) lies between two quantiles. Here these are quantiles of Student's
    distribution instead of the normal one, so that it is the t interval if nothing is skewed.
    `benchmarks/interval_coverage.py` compares it with others.
    """
    mean, n = _mean(losses, inside), effective_size(inside)
    interval = None
    if n >= 2:
        deviations = inside / inside.sum() * (losses - mean)
        squares = deviations * deviations
        variance = float(squares.sum())
        error = np.sqrt(variance * n / (n - 1))
        skewness = float(squares @ deviations) / variance**1.5 if variance > 0 else 0.0
        quantile = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2))
        low, high = (float(mean - error * _hall_inverse(q, skewness)) for q in (quantile, -quantile))
        interval = (max(float(losses.min()), low), min(float(losses.max()), high))
    return _contrast(losses, inside, outside, codes, mean, interval)


def _hall_inverse(quantile: float, skewness: float) -> float:
    """Return the T at which Hall's cubic is a quantile: with a = λ / 3 it is ((1 + a T)³ - 1) / 3a + λ / 6."""
    shifted = quantile - skewness / 6
    root = float(np.cbrt(1 + skewness * shifted))
    return 3 * shifted / (root * root + root + 1)  # (root - 1) / a, also where a is zero


def effective_size(weights: Float[np.ndarray, " n"]) -> float:
    """Return how many equally weighted rows are as informative: (Σ w)² / Σ w² (Kish 1965), or 0 without weights."""
    squares = float(weights @ weights)
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0


def _contrast(
    values: np.ndarray,
    inside: np.ndarray,
    outside: np.ndarray,
    codes: np.ndarray | None,
    mean: float,
    interval: tuple[float, float] | None,
) -> Contrast:
    rest = _mean(values, outside) if outside.sum() > 0 else None
    return Contrast(
        mean, rest, interval, None if codes is None else _expected(values, inside, outside, codes)
    )


def _mean(values: np.ndarray, weights: np.ndarray) -> float:
    return float(values @ weights / weights.sum())


def _expected(values: np.ndarray, inside: np.ndarray, outside: np.ndarray, codes: np.ndarray) -> float | None:
    """Return the mean outside, reweighted to the label mix inside; labels that do not occur outside are left out."""
    mass, rest = np.bincount(codes, inside), np.bincount(codes, outside)
    sums = np.bincount(codes, outside * values)
    known = (rest > 0) & (mass > 0)
    if not known.any():
        return None
    return float(mass[known] @ (sums[known] / rest[known]) / mass[known].sum())
