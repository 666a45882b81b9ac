"""A p-value for rows that come in groups, by flipping the signs of the groups' parts in a statistic.

Rows of one patient are not exchangeable with those of another, even if losses depend on the label and the patient
alone: a permutation of rows treats forty rows of one patient as forty observations. What each group adds to the
statistic,

    U_g = Σ_{i in g} c_i (w_i - w̄_s(i)) a_i,

is independent between groups, whatever the correlation within, and has mean zero if a group's losses have nothing to do
with how much of it is inside. So both signs of each are equally likely, apart from its skewness, and the p-value is the
share of all 2^G choices of signs whose sum reaches the observed one (randomization under approximate symmetry: Canay,
Romano & Shaikh 2017; the wild cluster bootstrap of a score: Cameron, Gelbach & Miller 2008).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

from weakspot.evaluation.contrasts import effective_size
from weakspot.evaluation.permutations import permutation_p

_MANY_GROUPS = 100.0  # effective, from which on the sum of flipped parts is taken as normal


def sign_flip_p(parts: Float[np.ndarray, " g"], draws: int, seed: int) -> float:
    """Return the probability that the sum of parts with random signs reaches the observed sum.

    Args:
        parts: (g,) the contribution of each group to the statistic.
        draws: The most choices of signs to draw if fewer than 100 effective groups contribute to the sum; otherwise the
            normal curve of the same variance is used, whose tail is heavier.
        seed: The seed of the choices.
    """
    squares = parts * parts
    if squares.sum() <= 0:
        return 1.0
    if effective_size(squares) >= _MANY_GROUPS:
        return float(ndtr(-parts.sum() / np.sqrt(squares.sum())))
    g, parts = len(parts), np.sort(parts)  # so that the result does not depend on the groups' order
    pairs = np.stack([parts, -parts], axis=1).ravel()  # a flip exchanges the two scores of a stratum
    first = np.tile([1.0, 0.0], g)
    return permutation_p(first, pairs, np.arange(0, 2 * g, 2), np.full(g, 2), draws, seed)
