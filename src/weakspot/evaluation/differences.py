"""Differences of two means, with their confidence intervals."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from jaxtyping import Float, Int

from weakspot.evaluation.contrasts import Contrast


@dataclass(frozen=True)
class Difference:
    """Holds the difference of two means.

    Attributes:
        value: The difference.
        interval: Its 95 % confidence interval; None if one of the two means has none.
    """

    value: float
    interval: tuple[float, float] | None

    @property
    def sign(self) -> int:
        """1 or -1 if the interval excludes zero, by its side; 0 if the difference may be due to chance alone."""
        if self.interval is None:
            return 0
        return int(self.interval[0] > 0) - int(self.interval[1] < 0)


def difference(one: Contrast, other: Contrast, correlation: float = 0.0) -> Difference:
    """Subtract the mean inside `one` from that inside `other`; the interval is recovered from their intervals.

    Zou and Donner, Construction of confidence limits about effect measures, Statistics in Medicine 27 (2008). For
    accuracies this is Newcombe's hybrid score interval (Statistics in Medicine 17, 1998): method 10 for independent
    examples and, with a correlation, that for paired ones. Like Wilson's interval, which it is made of, it has a width
    even if all examples are right, or all wrong.

    Args:
        one: The mean that is subtracted.
        other: The mean that it is subtracted from.
        correlation: The correlation of the two outcomes of an example, if both means are of the same examples.
    """
    value = other.inside - one.inside
    if one.interval is None or other.interval is None:
        return Difference(value, None)
    below_one, above_one = one.inside - one.interval[0], one.interval[1] - one.inside
    below_other, above_other = other.inside - other.interval[0], other.interval[1] - other.inside
    down = below_other**2 - 2 * correlation * below_other * above_one + above_one**2
    up = above_other**2 - 2 * correlation * above_other * below_one + below_one**2
    return Difference(value, (value - sqrt(max(down, 0.0)), value + sqrt(max(up, 0.0))))


def correlation(
    one: Float[np.ndarray, " n"], other: Float[np.ndarray, " n"], weights: Float[np.ndarray, " n"]
) -> float:
    """Return Pearson's correlation of two outcomes of weighted examples; 0 if one of them does not vary."""
    share = weights / weights.sum()
    a, b = (values - share @ values for values in (one, other))
    scale = float(np.sqrt((share @ a**2) * (share @ b**2)))
    return float(np.clip((share * a) @ b / scale, -1.0, 1.0)) if scale > 1e-12 else 0.0


def match_label_mix(
    inside: Float[np.ndarray, " n"], outside: Float[np.ndarray, " n"], codes: Int[np.ndarray, " n"] | None
) -> Float[np.ndarray, " n"]:
    """Reweight the outside so that every label has the weight there that it has inside.

    A label that does not occur outside is left out. If labels are unknown, the weights stay as they are.
    """
    if codes is None:
        return outside
    mass, rest = np.bincount(codes, inside), np.bincount(codes, outside)
    known = (mass > 0) & (rest > 0)
    factors = np.divide(mass, rest, out=np.zeros_like(mass), where=known)
    weights: np.ndarray = outside * factors[codes]
    return weights
