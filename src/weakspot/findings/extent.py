"""Finds how far a slice extends: to where errors are no longer more common than beyond."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import xlogy

from weakspot.hashing import sample_rows

HALVINGS = 16
"""How many halvings of the tested examples the memberships are averaged over; `benchmarks/extents.py` measures why."""

COMPONENTS = 32  # principal components that embeddings are reduced to
_MOST_ROWS = 20_000  # at most, that a discriminant is fitted to
_CORE_RATE_SHARE = 0.75  # how far from the rest's error rate to the core's the rate inside must reach
_MIN_EXTENT_SIZE = 5  # examples
_ROUNDS = 4  # fits of the discriminant: to the members, then to the extent that the last fit gave
_DIGITS = 9  # decimal places of a log likelihood; more depend on the order in which errors are summed


@dataclass(frozen=True, eq=False)
class Extent:
    """Holds how far a region extends.

    Attributes:
        scores: (n,) graded membership of every example, higher inside; minus infinity outside the population.
        threshold: Examples with at least this score lie inside.
        likelihood: The log likelihood ratio, on the tested examples, of errors being more common inside.
        tested_scores: (m,) the scores of the tested examples.
    """

    scores: Float[np.ndarray, " n"]
    threshold: float
    likelihood: float
    tested_scores: Float[np.ndarray, " m"]

    @property
    def rows(self) -> Bool[np.ndarray, " n"]:
        """(n,) which examples lie inside."""
        inside: np.ndarray = self.scores >= self.threshold
        return inside


class ReducedEmbeddings:
    """Holds embeddings of the described and the tested examples, reduced to at most 32 principal components.

    Args:
        described: (n, d) of the examples that slices are described over.
        tested: (m, d) of the examples that they are tested on.
        hashes: (n,) of the described examples' ids; they decide which examples are sampled if there are many.
    """

    def __init__(
        self,
        described: Float[np.ndarray, "n d"],
        tested: Float[np.ndarray, "m d"],
        hashes: Float[np.ndarray, " n"],
    ) -> None:
        self.hashes = hashes
        rows = sample_rows(hashes, _MOST_ROWS)
        sample = np.asarray(described[rows], dtype=np.float64)
        center = sample.mean(axis=0)
        d, components = sample.shape[1], None
        if d > COMPONENTS:
            _, _, v = np.linalg.svd(_square_root(sample - center), full_matrices=False)
            components = v[:COMPONENTS].T  # (d, 32)
        self.described, self.tested = (
            _project(embeddings, center, components) for embeddings in (described, tested)
        )

    def discriminant(
        self, members: Bool[np.ndarray, " n"], population: Bool[np.ndarray, " n"]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " m"]]:
        """Score examples by a linear discriminant of members against others with shrunken covariance (Ledoit-Wolf).

        Whether an example is right plays no part: a score depends only on where the example lies.

        Args:
            members: (n,) which examples belong to the region.
            population: (n,) which examples are used; those that are not members are the opposite class.

        Returns:
            Scores (n,) of the described and (m,) of the tested examples.
        """
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        inside, outside = np.flatnonzero(members & population), np.flatnonzero(~members & population)
        inside = inside[sample_rows(self.hashes[inside], _MOST_ROWS // 2)]
        outside = outside[sample_rows(self.hashes[outside], _MOST_ROWS // 2)]
        rows = np.concatenate([inside, outside])
        x = self.described[rows]
        if min(len(inside), len(outside)) < 2 or not np.ptp(x, axis=0).any():
            return members.astype(np.float64), np.zeros(len(self.tested))
        y = np.arange(len(rows)) < len(inside)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of components that do not vary
            fitted = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(x, y)
        direction = np.nan_to_num(fitted.coef_[0])
        return _rounded(self.described @ direction), _rounded(self.tested @ direction)


@dataclass(frozen=True)
class ErrorRates:
    """Holds how common errors are in a region's core, and in the rest of its population.

    Attributes:
        inside, outside: The mean severity, strictly between 0 and 1.
    """

    inside: float
    outside: float

    @classmethod
    def of(
        cls,
        weights: Float[np.ndarray, " m"],
        severity: Float[np.ndarray, " m"],
        counts: Float[np.ndarray, " m"],
    ) -> ErrorRates:
        """Estimate the rates from m tested examples of a population, with the weights of the core.

        Half an example is added to each outcome, so that no rate is 0 or 1.

        Args:
            weights: (m,) memberships in the core.
            severity: (m,) in [0, 1].
            counts: (m,) how many times each example counts; 0 outside of the population.
        """
        inside, outside = counts * weights, counts * (1 - weights)
        return cls(*(float((mass @ severity + 0.5) / (mass.sum() + 1.0)) for mass in (inside, outside)))


def find_extent(
    reduced: ReducedEmbeddings,
    starts: Sequence[tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]],
    population: Bool[np.ndarray, " n"],
    searched: Bool[np.ndarray, " n"],
    tested_population: Bool[np.ndarray, " m"],
    severity: Float[np.ndarray, " m"],
    rates: ErrorRates,
) -> Extent:
    """Find the extent of a region whose members are known on the searched examples, by the errors of the tested ones.

    A discriminant of the members against the rest of the population ranks all examples. The extent ends at the position
    in that ranking where it is likeliest, on the tested examples, that errors are more common before than after
    (`change_point`). The discriminant is then refitted a few times to what lies in the extent, and the likeliest extent
    is kept.

    Args:
        reduced: The embeddings.
        starts: Sets of members (n,) to begin with, each with the described examples (n,) that they are distinguished
            from.
        population: (n,) the described examples that the region is confined to (those of its labels).
        searched: (n,) the described examples that were searched for slices; the discriminant is fitted to them alone.
        tested_population: (m,) the tested examples of the population.
        severity: (m,) of every tested example, in [0, 1]: 1 if the model is wrong.
        rates: The error rates of the core and of the rest, on tested examples.

    Returns:
        The likeliest extent.
    """
    extents: list[Extent] = []
    for members, others in starts:
        current = members
        for _ in range(_ROUNDS):
            scores, tested = reduced.discriminant(current & searched, others & searched)
            scores = np.where(population, scores, -np.inf)
            threshold, likelihood = change_point(
                tested[tested_population], severity[tested_population], rates
            )
            extents.append(
                Extent(scores, threshold, likelihood, np.where(tested_population, tested, -np.inf))
            )
            current, others = extents[-1].rows, population
    return max(extents, key=lambda extent: extent.likelihood)


def change_point(
    scores: Float[np.ndarray, " m"], severity: Float[np.ndarray, " m"], rates: ErrorRates
) -> tuple[float, float]:
    """Find the position in a ranking after which errors are no longer more common.

    Among all splits of the ranking into two parts, each with a constant error rate, this is the likeliest (Kulldorff's
    Bernoulli likelihood ratio, 1997) whose error rate before the split is about that of the core: it must reach three
    quarters of the way from the rest's rate to the core's. Without that bound a long stretch of slightly raised rates,
    where other failures lie scattered, could outweigh the core.

    Args:
        scores: (m,) of the examples; the highest come first.
        severity: (m,) of the examples, in [0, 1].
        rates: The error rates of the core and of the rest.

    Returns:
        The lowest score inside, and the log likelihood ratio of the split against no split, rounded to nine decimal
        places; plus and minus infinity if no split is possible. Among equally likely splits it is the smallest.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    m = len(order)
    ends = np.flatnonzero(ranked[:-1] > ranked[1:]) + 1  # equal scores stay together
    ends = ends[ends >= min(_MIN_EXTENT_SIZE, m)]
    if len(ends) == 0 or rates.inside <= rates.outside:
        return np.inf, -np.inf
    total = float(severity.sum())
    inside = np.cumsum(severity[order])[ends - 1]
    outside = np.maximum(total - inside, 0.0)
    likelihood = _log_likelihood(inside, ends) + _log_likelihood(outside, m - ends)
    likelihood -= _log_likelihood(np.array(total), np.array(m))
    least = rates.outside + _CORE_RATE_SHARE * (rates.inside - rates.outside)
    likelihood[(inside < least * ends) | (inside / ends <= outside / (m - ends))] = -np.inf
    likelihood = np.round(likelihood, _DIGITS)
    best = int(np.argmax(likelihood))
    if np.isneginf(likelihood[best]):
        return np.inf, -np.inf
    return float(ranked[ends[best] - 1]), float(likelihood[best])


def _log_likelihood(errors: np.ndarray, n: np.ndarray) -> np.ndarray:
    rate = errors / n
    log_likelihood: np.ndarray = xlogy(errors, rate) + xlogy(n - errors, 1 - rate)
    return log_likelihood


def cross_fitted_weights(
    extent: Extent,
    population: Bool[np.ndarray, " m"],
    severity: Float[np.ndarray, " m"],
    rates: ErrorRates,
    hashes: Float[np.ndarray, " m"],
    halvings: int = HALVINGS,
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " m"]]:
    """Return the share of thresholds that each example lies within, by repeated two-fold cross-fitting.

    The errors of each half of the tested examples give a threshold. The examples of one half are measured within the
    threshold of the other, so that the error rate inside is not flattered by the choice of where the extent ends. A
    single halving would leave that rate to chance: two thresholds from half of the errors each may lie far from those
    of the next halving. The described examples are weighted by the same thresholds, so that what is described matches
    what is measured as closely as possible, given that no example's own error may affect its measured weight.

    Args:
        extent: The extent.
        population: (m,) the tested examples that it is confined to.
        severity: (m,) of the tested examples.
        rates: The error rates of the core and of the rest; they come from all tested examples.
        hashes: (m,) of the tested examples' ids, in [0, 1): each binary digit makes a halving, whatever the order of
            the examples.
        halvings: How many halvings; at most 53, the binary digits of a hash.

    Returns:
        The shares (n,) for the described and (m,) for the tested examples; 0 outside the population.
    """
    rows = np.flatnonzero(population)
    rows = rows[
        np.argsort(-extent.tested_scores[rows], kind="stable")
    ]  # sorted once here, so that later sorts are fast
    scores, wrong = extent.tested_scores[rows], severity[rows]
    rising = -scores
    digits = (hashes[rows] * 2.0**halvings).astype(np.int64)
    inside = np.zeros(len(rows))
    thresholds = []
    for halving in range(halvings):
        half = (digits >> halving) % 2 == 0
        for fold, other in ((half, ~half), (~half, half)):
            threshold, _ = change_point(scores[other], wrong[other], rates)
            end = np.searchsorted(rising, -threshold, side="right")
            inside[:end] += fold[:end]
            thresholds.append(threshold)
    thresholds.sort()
    described = np.zeros(len(extent.scores))
    within = np.flatnonzero(extent.scores >= thresholds[0])  # look up only these few
    described[within] = np.searchsorted(thresholds, extent.scores[within], side="right") / len(thresholds)
    tested = np.zeros(len(population))
    tested[rows] = inside / halvings
    return described, tested


def _rounded(scores: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Round scores to float32 precision, so that equal embeddings have equal scores at any position."""
    return np.asarray(scores.astype(np.float32).astype(np.float64))


def _square_root(x: Float[np.ndarray, "n d"]) -> np.ndarray:
    """Return a small matrix with the right singular vectors of a tall one."""
    if len(x) <= x.shape[1]:
        return x
    r: np.ndarray = np.asarray(np.linalg.qr(x, mode="r"))
    return r


def _project(
    embeddings: Float[np.ndarray, "n d"],
    center: np.ndarray,
    components: np.ndarray | None,
    block: int = 65_536,
) -> Float[np.ndarray, "n p"]:
    """Project embeddings (n, d) on components (d, p), block by block; without components, only center them."""
    width = embeddings.shape[1] if components is None else components.shape[1]
    out = np.empty((len(embeddings), width))
    for start in range(0, len(embeddings), block):
        centered = embeddings[start : start + block] - center
        out[start : start + block] = centered if components is None else centered @ components
    return out
