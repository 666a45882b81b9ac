"""How far a slice extends: down to where errors are no longer commoner than beyond."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import xlogy

_COMPONENTS = 32
_MOST_ROWS = 20_000  # that a discriminant is fitted on
_LIKE_THE_CORE = 0.75  # of the way from the rest's error rate to the core's that the rate inside must have
_FEWEST = 5  # examples that an extent holds at least
_ROUNDS = 4  # in which the discriminant is fitted again to the extent that it gave


@dataclass(frozen=True, eq=False)
class Extent:
    """How far a region goes.

    Attributes:
        scores: (n,) graded membership of every example, higher inside; minus infinity outside the population.
        threshold: Examples with at least this score lie in it.
        likelihood: Log likelihood ratio, on the tested examples, of errors being commoner inside.
        tested_scores: (m,) scores of the tested examples.
    """

    scores: Float[np.ndarray, " n"]
    threshold: float
    likelihood: float
    tested_scores: Float[np.ndarray, " m"]

    @property
    def rows(self) -> Bool[np.ndarray, " n"]:
        inside: np.ndarray = self.scores >= self.threshold
        return inside


class Space:
    """Embeddings of the described examples and of the tested ones, reduced to a few principal components.

    Args:
        described: (n, d), what the slices are described over.
        tested: (m, d), what they are tested on.
        seed: Of the sample that the components are taken from.
    """

    def __init__(
        self, described: Float[np.ndarray, "n d"], tested: Float[np.ndarray, "m d"], seed: int = 0
    ) -> None:
        self.seed = seed
        rows = _some(len(described), _MOST_ROWS, seed)
        sample = np.asarray(described[rows], dtype=np.float64)
        center = sample.mean(axis=0)
        d, components = sample.shape[1], None
        if d > _COMPONENTS:
            _, _, v = np.linalg.svd(_square_root(sample - center), full_matrices=False)
            components = v[:_COMPONENTS].T  # (d, 32)
        self.described, self.tested = (
            _projected(embeddings, center, components) for embeddings in (described, tested)
        )

    def discriminant(
        self, members: Bool[np.ndarray, " n"], population: Bool[np.ndarray, " n"]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " m"]]:
        """Scores of a linear discriminant, its covariance shrunken (Ledoit-Wolf), of members against the others.

        No example's correctness enters: a score depends on where the example lies, and on nothing else.

        Args:
            members: Who belongs to the region.
            population: Who is looked at; the others of it are the opposite class.

        Returns:
            Scores (n,) of the described and (m,) of the tested examples.
        """
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        inside, outside = np.flatnonzero(members & population), np.flatnonzero(~members & population)
        inside = inside[_some(len(inside), _MOST_ROWS // 2, self.seed)]
        outside = outside[_some(len(outside), _MOST_ROWS // 2, self.seed)]
        rows = np.concatenate([inside, outside])
        x = self.described[rows]
        if min(len(inside), len(outside)) < 2 or not np.ptp(x, axis=0).any():
            return members.astype(np.float64), np.zeros(len(self.tested))
        y = np.arange(len(rows)) < len(inside)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of components that do not vary
            fitted = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(x, y)
        direction = np.nan_to_num(fitted.coef_[0])
        return self.described @ direction, self.tested @ direction


@dataclass(frozen=True)
class Rates:
    """How common errors are in a region's core, and in the rest of its population.

    Attributes:
        inside, outside: Mean badness, strictly between 0 and 1.
    """

    inside: float
    outside: float

    @classmethod
    def of(
        cls,
        weights: Float[np.ndarray, " m"],
        errors: Float[np.ndarray, " m"],
        counts: Float[np.ndarray, " m"],
    ) -> Rates:
        """From the tested examples of a population, with the weights of the core; half an example is added to either
        outcome, so that no rate is 0 or 1.
        """
        inside, outside = counts * weights, counts * (1 - weights)
        return cls(*(float((mass @ errors + 0.5) / (mass.sum() + 1.0)) for mass in (inside, outside)))


def extend(
    space: Space,
    starts: Sequence[tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]],
    population: Bool[np.ndarray, " n"],
    searched: Bool[np.ndarray, " n"],
    tested_population: Bool[np.ndarray, " m"],
    errors: Float[np.ndarray, " m"],
    rates: Rates,
) -> Extent:
    """The extent of a region whose members are known on the searched examples, by the errors of the tested ones.

    A discriminant of the members against the rest of the population ranks all examples; down that ranking the extent
    ends where it is likeliest, on the tested examples, that errors are commoner before than beyond (`change_point`).
    What lies in the extent then teaches the discriminant anew, a few times; the likeliest extent is kept.

    Args:
        space: The embeddings.
        starts: Members of the region to begin with, each with the described examples that they are told from.
        population: The described examples that the region is confined to (those of its labels).
        searched: The described examples that the slices were sought in; only they teach the discriminant.
        tested_population: The tested examples of the population.
        errors: Badness in [0, 1] of every tested example: 1 where the model is wrong.
        rates: Of the core and of the rest, on tested examples.

    Returns:
        The likeliest extent.
    """
    found: list[Extent] = []
    for members, others in starts:
        current, among = members, others
        for _ in range(_ROUNDS):
            scores, tested = space.discriminant(current & searched, among & searched)
            scores = np.where(population, scores, -np.inf)
            threshold, likelihood = change_point(tested[tested_population], errors[tested_population], rates)
            found.append(Extent(scores, threshold, likelihood, np.where(tested_population, tested, -np.inf)))
            current, among = found[-1].rows, population
    return max(found, key=lambda extent: extent.likelihood)


def change_point(
    scores: Float[np.ndarray, " m"], errors: Float[np.ndarray, " m"], rates: Rates
) -> tuple[float, float]:
    """Where, down a ranking, errors stop being commoner.

    Of all splits of the ranking into two parts of one error rate each the likeliest is taken (Kulldorff's Bernoulli
    likelihood ratio, 1997), if errors before it are about as common as in the core: they must make up three quarters
    of the way from the rest's rate to the core's. Without that bound a long stretch of slightly raised rates, where
    other failures lie scattered, could outweigh the core.

    Args:
        scores: Of the examples; the highest come first.
        errors: Of the examples, in [0, 1].
        rates: Of the core and of the rest.

    Returns:
        The lowest score inside, and the log likelihood ratio of the split against no split; plus and minus infinity
        where nothing can be split.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    m = len(order)
    ends = np.flatnonzero(ranked[:-1] > ranked[1:]) + 1  # equal scores stay together
    ends = ends[ends >= min(_FEWEST, m)]
    if len(ends) == 0 or rates.inside <= rates.outside:
        return np.inf, -np.inf
    total = float(errors.sum())
    inside = np.cumsum(errors[order])[ends - 1]
    outside = np.maximum(total - inside, 0.0)
    likelihood = _log_likelihood(inside, ends) + _log_likelihood(outside, m - ends)
    likelihood -= _log_likelihood(np.array(total), np.array(m))
    least = rates.outside + _LIKE_THE_CORE * (rates.inside - rates.outside)
    likelihood[(inside < least * ends) | (inside / ends <= outside / (m - ends))] = -np.inf
    best = int(np.argmax(likelihood))
    if np.isneginf(likelihood[best]):
        return np.inf, -np.inf
    return float(ranked[ends[best] - 1]), float(likelihood[best])


def _log_likelihood(errors: np.ndarray, n: np.ndarray) -> np.ndarray:
    rate = errors / n
    found: np.ndarray = xlogy(errors, rate) + xlogy(n - errors, 1 - rate)
    return found


def honest_rows(
    extent: Extent,
    population: Bool[np.ndarray, " m"],
    errors: Float[np.ndarray, " m"],
    rates: Rates,
    seed: int = 0,
) -> Bool[np.ndarray, " m"]:
    """Which tested examples lie inside, each judged by a threshold that is sought among other errors than its own.

    The threshold of one half is taken from the other half, so that the error rate inside is not flattered by where
    the extent was made to end.

    Args:
        extent: The extent.
        population: The tested examples that it is confined to.
        errors: Badness of the tested examples.
        rates: Of the core and of the rest; these come from all tested examples.
        seed: Of the halves.

    Returns:
        (m,) whether each lies inside.
    """
    rows = np.flatnonzero(population)
    half = np.random.default_rng(seed).permutation(len(rows)) % 2 == 0
    inside = np.zeros(len(population), dtype=bool)
    for mine in (half, ~half):
        theirs = rows[~mine]
        threshold, _ = change_point(extent.tested_scores[theirs], errors[theirs], rates)
        inside[rows[mine]] = extent.tested_scores[rows[mine]] >= threshold
    return inside


def _some(n: int, most: int, seed: int) -> np.ndarray:
    return np.arange(n) if n <= most else np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


def _square_root(x: Float[np.ndarray, "n d"]) -> np.ndarray:
    """A small matrix with the right singular vectors of a tall one."""
    if len(x) <= x.shape[1]:
        return x
    r: np.ndarray = np.asarray(np.linalg.qr(x, mode="r"))
    return r


def _projected(
    embeddings: Float[np.ndarray, "n d"],
    center: np.ndarray,
    components: np.ndarray | None,
    block: int = 65_536,
) -> Float[np.ndarray, "n p"]:
    width = embeddings.shape[1] if components is None else components.shape[1]
    out = np.empty((len(embeddings), width))
    for start in range(0, len(embeddings), block):
        away = embeddings[start : start + block] - center
        out[start : start + block] = away if components is None else away @ components
    return out
