"""The direction along which the model's confidence runs, shortened before neighbours are looked for."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from weakspot.methods.distributed import SINGLE_PROCESS, ProcessGroup

_CERTAIN = 1e-3  # residuals closer to 0 or 1 than this are as good as certain
_RIDGE = 1e-9  # of the mean variance: components that do not vary have no part in the regression
_BLOCK = 65_536  # examples at a time


def shorten_confidence(
    x: Float[np.ndarray, "h q"],
    residuals: Float[np.ndarray, " h"],
    counts: Float[np.ndarray, " h"],
    share: float,
    processes: ProcessGroup = SINGLE_PROCESS,
) -> None:
    """Shorten, in place, the direction of one label's examples from which the model's confidence can be read.

    A trained model arranges its last layer by how sure it is, so that the nearest neighbours there are examples of
    equal confidence, of whatever kind: balls collect mistakes from all of the label instead of a group that fails. The
    log odds t = log((1 - r)/r) of the residuals are regressed on x, with the solution β = Σ⁻¹b of the covariances Σ of
    x and b of x with t. Examples lose the given share of what that regression explains, times its adjusted R²: an
    embedding that says nothing of the confidence, as another encoder's may, stays as it is.

    Args:
        x: (h, q) the reduced examples of one label that this process holds; there may be millions, so they are changed
            in place.
        residuals: (h,) in [0, 1].
        counts: (h,) how often each example counts.
        share: How much of the direction goes where the confidence is a linear function of x, from 0 to 1.
        processes: The processes.
    """
    r = np.clip(residuals, _CERTAIN, 1 - _CERTAIN)
    columns = np.column_stack([x, np.log((1 - r) / r)])  # (h, q + 1)
    n = float(processes.sum(counts.sum(keepdims=True))[0])
    mean = processes.sum(counts @ columns) / n
    columns -= mean
    moments = processes.sum((columns * counts[:, None]).T @ columns) / n  # (q + 1, q + 1)
    covariance, with_t, of_t = moments[:-1, :-1], moments[:-1, -1], moments[-1, -1]
    ridge = (_RIDGE * np.trace(covariance) / len(covariance) + 1e-300) * np.eye(len(covariance))
    solution = np.linalg.solve(covariance + ridge, np.column_stack([with_t, covariance]))
    beta, free = solution[:, 0], float(np.trace(solution[:, 1:]))  # free: how many components vary
    explained = float(with_t @ beta)
    if explained <= 0 or n < free + 2:  # nothing to explain, or no example left to judge the regression by
        return
    adjusted = 1 - (1 - explained / of_t) * (n - 1) / (n - free - 1)
    loading = max(0.0, share * adjusted) * with_t / explained  # (q,)
    for start in range(0, len(x), _BLOCK):
        block = x[start : start + _BLOCK]
        block -= np.outer((block - mean[:-1]) @ beta, loading)
