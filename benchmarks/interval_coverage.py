"""How often 95 % intervals of a mean loss cover the truth, and how wide they are: ours and five others.

    python benchmarks/interval_coverage.py                              # under a minute
    python benchmarks/interval_coverage.py --docs docs/evidence.md      # also write the table into the page

Nothing is selected: n of 1000 independent losses are inside, and the true mean is that of four million. Losses are
those of a classifier that is wrong in 20 % or 3 % of the rows (cross-entropy, margins from an exponential
distribution), squared errors with normal and with heavy tails (t with 4 degrees of freedom), absolute errors with
normal tails, and values that are not skewed at all. For soft memberships, which fall off exponentially, n is the
effective number of rows.

A cell holds the share of intervals that cover the truth, and their mean width as a multiple of the t interval's. All
intervals are limited to the range from the smallest to the largest of the 1000 losses, as ours is.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float
from planted.pages import write_between
from scipy.special import stdtrit
from scipy.stats import f as fisher

from weakspot.evaluation.contrasts import loss_contrast

MARK = "interval coverage"
ROWS = 1000
SIZES = (10, 20, 40, 100)
RESAMPLES = 199

Ends = tuple[Float[np.ndarray, " s"], Float[np.ndarray, " s"]]
Interval = Callable[[Float[np.ndarray, "s n"], Float[np.ndarray, " n"]], Ends]


def cross_entropy(mistaken: float, margin: float) -> Callable[..., np.ndarray]:
    def draw(random: np.random.Generator, shape: int | tuple[int, int]) -> np.ndarray:
        signs = np.where(random.random(shape) < mistaken, 1, -1)
        return np.logaddexp(0, random.exponential(margin, shape) * signs)

    return draw


LOSSES: dict[str, Callable[..., np.ndarray]] = {
    "cross-entropy, 20 % mistakes": cross_entropy(0.2, 2.0),
    "cross-entropy, 3 % mistakes": cross_entropy(0.03, 3.0),
    "squared error, normal": lambda random, shape: random.normal(size=shape) ** 2,
    "squared error, heavy tails": lambda random, shape: random.standard_t(4, shape) ** 2,
    "absolute error, normal": lambda random, shape: np.abs(random.normal(size=shape)),
    "not skewed": lambda random, shape: 9 + random.normal(size=shape),
}


def moments(losses: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Return the mean, its standard error and its skewness, (s,) each, and the effective number of rows."""
    shares = weights / weights.sum()
    n = 1 / float(shares @ shares)
    mean = losses @ shares
    deviations = shares * (losses - mean[:, None])
    variance = (deviations**2).sum(axis=1)
    return mean, np.sqrt(variance * n / (n - 1)), (deviations**3).sum(axis=1) / variance**1.5, n


def student(losses: np.ndarray, weights: np.ndarray) -> Ends:
    mean, error, _, n = moments(losses, weights)
    half = stdtrit(n - 1, 0.975) * error
    return mean - half, mean + half


def johnson(losses: np.ndarray, weights: np.ndarray) -> Ends:
    """Return Johnson's (1978) t interval, shifted by the skewness."""
    mean, error, skewness, n = moments(losses, weights)
    middle, half = mean + error * skewness / 6, stdtrit(n - 1, 0.975) * error
    return middle - half, middle + half


def logarithmic(losses: np.ndarray, weights: np.ndarray) -> Ends:
    """Return the t interval of the logarithm of the mean, by the delta method."""
    mean, error, _, n = moments(losses, weights)
    factor = np.exp(stdtrit(n - 1, 0.975) * error / mean)
    return mean / factor, mean * factor


def bootstrap_t(losses: np.ndarray, weights: np.ndarray) -> Ends:
    mean, error, _, _ = moments(losses, weights)
    n = losses.shape[1]
    rows = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    ends = np.empty((2, len(losses)))
    for i, own in enumerate(losses):
        drawn = own[rows]
        means, errors = drawn.mean(axis=1), drawn.std(axis=1, ddof=1) / np.sqrt(n)
        with np.errstate(divide="ignore", invalid="ignore"):
            low, high = np.quantile(np.nan_to_num((means - mean[i]) / errors), [0.025, 0.975])
        ends[:, i] = mean[i] - high * error[i], mean[i] - low * error[i]
    return ends[0], ends[1]


def empirical_likelihood(losses: np.ndarray, weights: np.ndarray) -> Ends:
    """Return Owen's (1990) interval with Fisher's quantile, by bisection: the means that are likely enough."""
    mean, _, _, n = moments(losses, weights)
    most = fisher.ppf(0.95, 1, n - 1)
    ends = []
    for furthest in (losses.min(axis=1), losses.max(axis=1)):
        inner, outer = mean.copy(), furthest.copy()
        for _ in range(25):
            middle = (inner + outer) / 2
            likely = likelihood_ratio(losses - middle[:, None]) <= most
            inner, outer = np.where(likely, middle, inner), np.where(likely, outer, middle)
        ends.append(inner)
    return ends[0], ends[1]


def likelihood_ratio(deviations: np.ndarray) -> np.ndarray:
    """Return twice the log of the likelihood ratio (s,) of a mean, given the deviations (s, n) of n losses from it."""
    n = deviations.shape[1]
    low, high = ((1 / n - 1) / ends for ends in (deviations.max(axis=1), deviations.min(axis=1)))
    for _ in range(40):
        middle = (low + high) / 2
        rising = (deviations / (1 + middle[:, None] * deviations)).sum(axis=1) > 0
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    ratio: np.ndarray = 2 * np.log1p(middle[:, None] * deviations).sum(axis=1)
    return ratio


OTHERS: dict[str, Interval] = {
    "t": student,
    "Johnson's t": johnson,
    "t of the logarithm": logarithmic,
    "bootstrap-t": bootstrap_t,
    "empirical likelihood": empirical_likelihood,
}
ONLY_EQUAL_WEIGHTS = ("bootstrap-t", "empirical likelihood")


def ours(losses: np.ndarray, weights: np.ndarray, rest: np.ndarray) -> Ends:
    """Return the intervals of `loss_contrast`, for losses (s, n) inside and (s, m) outside."""
    inside = np.append(weights, np.zeros(rest.shape[1]))
    outside = np.repeat([0.0, 1.0], (len(weights), rest.shape[1]))
    whole = np.hstack([losses, rest])
    contrasts = [loss_contrast(one, inside, outside, None) for one in whole]
    ends = np.array([contrast.interval for contrast in contrasts])
    return ends[:, 0], ends[:, 1]


def row(name: str, draw: Callable[..., np.ndarray], n: int, soft: bool, sets: int) -> str:
    random = np.random.default_rng(n)
    truth = draw(random, 4_000_000).mean()
    weights = (
        np.exp(-np.arange(4 * n) * 2 / n) if soft else np.ones(n)
    )  # (Σ w)² / Σ w² is n for soft weights, too
    losses = draw(random, (sets, ROWS))
    inside, rest = losses[:, : len(weights)], losses[:, len(weights) :]
    found = {
        name: method(inside, weights)
        for name, method in OTHERS.items()
        if not (soft and name in ONLY_EQUAL_WEIGHTS)
    }
    found["ours"] = ours(inside, weights, rest)
    least, most = losses.min(axis=1), losses.max(axis=1)
    found = {
        method: (np.maximum(low, least), np.minimum(high, most)) for method, (low, high) in found.items()
    }
    width = np.mean(found["t"][1] - found["t"][0])
    cells = []
    for method in (*OTHERS, "ours"):
        if method not in found:
            cells.append("–")
            continue
        low, high = found[method]
        covered = np.mean((low <= truth) & (truth <= high))
        mark = "**" if method == "ours" else ""
        cells.append(f"{mark}{100 * covered:.0f} %{mark} (× {np.mean(high - low) / width:.1f})")
    above, below = np.mean(found["ours"][1] < truth), np.mean(found["ours"][0] > truth)
    return f"| {name} | {n} | {' | '.join(cells)} | {100 * above:.0f} %, {100 * below:.0f} % |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=1000, help="sets of losses for each kind and size")
    parser.add_argument("--docs", type=Path, help="a page to write the table into")
    options = parser.parse_args()
    lines = [
        f"| losses | n | {' | '.join(OTHERS)} | **ours** | ours: truth above, below |",
        "|---" * (len(OTHERS) + 4) + "|",
    ]
    for name, draw in LOSSES.items():
        lines += [row(name, draw, n, False, options.sets) for n in SIZES]
    for name in ("cross-entropy, 20 % mistakes", "squared error, normal"):
        lines += [row(f"{name}; soft", LOSSES[name], n, True, options.sets) for n in SIZES]
    print("\n".join(lines))
    if options.docs:
        write_between(options.docs, MARK, "\n".join(lines))


if __name__ == "__main__":
    main()
