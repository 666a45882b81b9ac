"""Permutation tests within strata, which draw until the p-value is precise enough."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numba import njit

_MOST_DRAWS = 9_999  # unless many slices are tested
_MOST_DRAWS_PER_SLICE = 20  # divided by the level, so that a corrected p can reach it
_HITS = 400  # with this many, p is known to within a twentieth of its value
_FEWEST_DRAWS = 999
_SCORES = 200_000_000  # to draw in all: a second or two


def most_draws(n_slices: int, level: float) -> int:
    """Return how many permutations are drawn at most for each of `n_slices` slices that are tested at a level."""
    return max(_MOST_DRAWS, math.ceil(_MOST_DRAWS_PER_SLICE * n_slices / level))


def permutation_p(
    weights: Float[np.ndarray, " n"],
    scores: Float[np.ndarray, " n"],
    starts: Int[np.ndarray, " s"],
    sizes: Int[np.ndarray, " s"],
    draws: int,
    seed: int,
) -> float:
    """Estimate the probability that Σ weights · scores reaches the observed sum if scores are permuted in strata.

    Drawing stops after 400 permutations that reach the observed sum, and at the latest after `draws`, or after fewer
    (but at least 999) if so many rows have weights of their own that more would take long. The p-value is valid at any
    number of draws, and never zero (Besag & Clifford 1991, Sequential Monte Carlo p-values).

    Args:
        weights: (n,) sorted by stratum.
        scores: (n,) likewise; their order within a stratum must not depend on the order of the caller's rows if the
            result should not.
        starts: (s,) the position of the first row of each stratum.
        sizes: (s,) the number of rows in each stratum.
        draws: the most permutations to draw.
        seed: the seed of the permutations.
    """
    strata = np.repeat(np.arange(len(sizes)), sizes)
    # a stratum's scores have a fixed sum, so a constant may be subtracted: most weights are the lowest, and become zero
    raised = weights - np.repeat(np.minimum.reduceat(weights, starts), sizes)
    by_weight = np.lexsort((-raised, strata))
    raised, inside = raised[by_weight], raised[by_weight] > 0
    observed = float(raised @ scores[by_weight])
    members = np.add.reduceat(inside.astype(np.int64), starts)
    varied = members > 0
    rounding = 1e-9 * float(np.abs(raised) @ np.abs(scores[by_weight]))
    hits, drawn = _draw(
        raised[inside],
        scores.copy(),
        starts[varied],
        sizes[varied],
        members[varied],
        observed - rounding,
        min(draws, max(_FEWEST_DRAWS, _SCORES // max(1, int(members.sum())))),
        _HITS,
        np.random.default_rng(seed),
    )
    p: float = hits / drawn if hits == _HITS else (hits + 1) / (drawn + 1)
    return p


@njit(cache=True, nogil=True)
def _draw(
    weights: Any,
    scores: Any,
    starts: Any,
    sizes: Any,
    members: Any,
    reached: float,
    draws: int,
    enough: int,
    random: Any,
) -> Any:
    """Draw each stratum's first few scores without replacement (Fisher and Yates), again and again."""
    hits, drawn = 0, 0
    while drawn < draws and hits < enough:
        total, row = 0.0, 0
        for s in range(len(starts)):
            start, size = starts[s], sizes[s]
            for j in range(members[s]):
                other = start + j + int(random.random() * (size - j))
                scores[start + j], scores[other] = scores[other], scores[start + j]
                total += weights[row] * scores[start + j]
                row += 1
        drawn += 1
        if total >= reached:
            hits += 1
    return hits, drawn
