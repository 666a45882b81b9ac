"""Tests by ranks, within each stratum, whether losses are higher inside a slice: the stratified weighted rank test.

A row's score is the rank of its loss among the rows of its stratum, r / (n_s + 1) minus one half: these are van
Elteren's (1960) scores, which weight a stratum by its information. The statistic adds up the scores, weighted by how
far a row's membership exceeds its stratum's mean,

    T = Σ_i c_i (w_i - w̄_s(i)) a_i.

If losses depend on the stratum alone, every assignment of a stratum's scores to its rows is as likely as any other. So
T has mean zero, and exact moments and probabilities that need no assumption about the losses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num
from scipy.special import gammaln
from scipy.stats import pearson3

from weakspot.evaluation.contrasts import effective_size
from weakspot.evaluation.permutations import permutation_p

_MANY_ROWS = 100.0  # effective, from which on Pearson's curve gives the tail of T, if it is hardly skewed
_HARDLY_SKEWED = 0.2
_NOTHING = 1e-12  # memberships this close to their stratum's mean are rounding errors


@dataclass(frozen=True, eq=False)
class RankedLosses:
    """Holds losses as rank scores within strata, sorted by stratum and then by score.

    Attributes:
        order: (n,) the row at each position.
        starts: (s,) the position of each stratum's first row.
        sizes: (s,) rows in each stratum, at least one.
        scores: (n,) in sorted order; every stratum's sum is zero.
    """

    order: Int[np.ndarray, " n"]
    starts: Int[np.ndarray, " s"]
    sizes: Int[np.ndarray, " s"]
    scores: Float[np.ndarray, " n"]

    @classmethod
    def within(cls, losses: Float[np.ndarray, " n"], codes: Int[np.ndarray, " n"]) -> RankedLosses:
        """Rank `losses` within the strata `codes` = 0 … s - 1, each of which occurs; ties share their mean rank."""
        order = np.lexsort((losses, codes))
        sizes = np.bincount(codes)
        starts = np.cumsum(sizes) - sizes
        ties = np.cumsum(_changes(codes[order], losses[order])) - 1
        positions = np.arange(len(order)) - np.repeat(starts, sizes) + 1.0
        ranks = (np.bincount(ties, positions) / np.bincount(ties))[ties]
        return cls(order, starts, sizes, ranks / np.repeat(sizes + 1.0, sizes) - 0.5)

    def sums(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " s"]:
        """Return the sums within strata of values in sorted order."""
        return np.asarray(np.add.reduceat(values, self.starts))

    def spread(self, values: Num[np.ndarray, " s"]) -> Num[np.ndarray, " n"]:
        """Repeat one value per stratum for each of its rows, in sorted order."""
        return np.repeat(values, self.sizes)

    def excess(
        self, memberships: Float[np.ndarray, " n"], counts: Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, " n"]:
        """Return how far each row's membership exceeds its stratum's mean, times its count; in sorted order."""
        w, c = memberships[self.order], counts[self.order]
        above = w - self.spread(self.sums(c * w) / self.sums(c))
        above[np.abs(above) < _NOTHING] = 0
        return np.asarray(c * above)

    def parts(
        self, excess: Float[np.ndarray, " n"], groups: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, " g"]:
        """Return the contribution of each group to T; `groups` (n,) are codes 0 … g - 1 of the caller's rows."""
        return np.bincount(groups[self.order], excess * self.scores)

    def p_value(self, excess: Float[np.ndarray, " n"], draws: int, seed: int) -> float:
        """Return the probability of a statistic at least as large, if losses depend on the stratum alone.

        If at least 100 effective rows contribute to T, and it is hardly skewed, this is the tail of Pearson's type III
        curve with T's exact variance and skewness (without ties, the normal curve); otherwise it is estimated by
        permutations within strata.
        """
        variance, skewness, rows = self._moments(excess)
        if variance <= 0:
            return 1.0
        if rows >= _MANY_ROWS and abs(skewness) <= _HARDLY_SKEWED:
            return float(pearson3.sf(excess @ self.scores / np.sqrt(variance), skewness))
        return permutation_p(excess, self.scores, self.starts, self.sizes, draws, seed)

    def smallest_p(self, excess: Float[np.ndarray, " n"]) -> float:
        """Return the smallest p-value possible: that of the largest statistic these memberships and losses allow.

        T is largest if each stratum's scores, sorted, are assigned to its memberships, sorted. The share of all
        assignments that are like this is Π_s Π_j a_j! Π_l b_l! / (n_s! Π_jl m_jl!), with a_j rows of one membership,
        b_l of one score and m_jl of both.
        """
        codes = self.spread(np.arange(len(self.sizes)))
        weights = excess[np.lexsort((excess, codes))]
        logarithm = (
            _log_factorials(_changes(codes, weights))
            + _log_factorials(_changes(codes, self.scores))
            - _log_factorials(_changes(codes))
            - _log_factorials(_changes(codes, weights, self.scores))
        )
        return float(min(1.0, np.exp(logarithm)))

    def _moments(self, excess: Float[np.ndarray, " n"]) -> tuple[float, float, float]:
        """Return the variance and skewness of T over all assignments of scores within strata, and its effective rows.

        A stratum that is wholly inside or outside adds nothing to T, however many rows it has.
        """
        n = self.sizes.astype(np.float64)
        v, a = excess - self.spread(self.sums(excess) / n), self.scores
        squares = v * v
        second = self.sums(squares) * self.sums(a * a) / np.maximum(n - 1, 1)
        third = self.sums(squares * v) * self.sums(a * a * a) * n / np.maximum((n - 1) * (n - 2), 1)
        variance = float(second.sum())
        if variance <= 0:
            return 0.0, 0.0, 0.0
        return variance, float(third[n > 2].sum() / variance**1.5), effective_size(squares)


def _changes(*keys: np.ndarray) -> np.ndarray:
    """Return whether a run of equal rows starts at each position."""
    first = np.ones(len(keys[0]), dtype=bool)
    first[1:] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    return first


def _log_factorials(first: np.ndarray) -> float:
    """Return Σ log(length!) over the runs that start where `first` is True."""
    lengths = np.diff(np.append(np.flatnonzero(first), len(first)))
    return float(gammaln(lengths + 1.0).sum())
