"""Expectation–maximisation for mixtures, over examples with counts.

Scikit-learn's GaussianMixture does not support counts; the mixtures here agree with it if all counts are 1
(tests/methods/test_gmm.py, tests/methods/test_planespot.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp

_TOLERANCE = 1e-3  # of the mean log likelihood: a step that changes it by less is the last

Parameters = TypeVar("Parameters")


def expectation_maximization(
    maximize: Callable[[Float[np.ndarray, "n s"]], Parameters],
    log_joint: Callable[[Parameters], Float[np.ndarray, "n s"]],
    responsibilities: Float[np.ndarray, "n s"],
    counts: Float[np.ndarray, " n"],
    max_iter: int,
) -> Parameters:
    """Alternate the M and E steps from given responsibilities, until the likelihood converges.

    Dempster, Laird, Rubin: Maximum likelihood from incomplete data, JRSS B 39 (1977).

    Args:
        maximize: Returns the parameters of the s components that fit responsibilities (n, s) best.
        log_joint: Returns the log of share × density of each component for each example (n, s).
        responsibilities: (n, s) to start from; rows sum to 1.
        counts: (n,) how often each example counts.
        max_iter: The largest number of steps.

    Returns:
        The parameters after the last step.
    """
    previous = -np.inf
    parameters = maximize(responsibilities)
    for _ in range(max_iter):
        joint = log_joint(parameters)
        norm = logsumexp(joint, axis=1)
        likelihood = float(np.average(norm, weights=counts))
        parameters = maximize(np.exp(joint - norm[:, None]))
        if abs(likelihood - previous) < _TOLERANCE:
            break
        previous = likelihood
    return parameters
