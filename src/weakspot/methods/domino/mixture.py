"""A mixture of Gaussians over embeddings and of categorical distributions over labels and predictions, by EM."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp

_LEAST_VARIANCE = 1e-6
_TOLERANCE = 1e-3  # of the mean log likelihood, below which a step ends the run
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Mixture:
    """Parameters of the components.

    Attributes:
        log_shares: (s,)
        means, variances: (s, q), the covariances being diagonal.
        labels: (s, c) probabilities of the labels.
        predictions: (s, c) probabilities of the predicted classes.
    """

    log_shares: Float[np.ndarray, " s"]
    means: Float[np.ndarray, "s q"]
    variances: Float[np.ndarray, "s q"]
    labels: Float[np.ndarray, "s c"]
    predictions: Float[np.ndarray, "s c"]

    def log_joint(
        self, x: np.ndarray, y: np.ndarray | None, z: np.ndarray | None, y_weight: float, z_weight: float
    ) -> Float[np.ndarray, "n s"]:
        """Log of share × density of each component, with the weighted terms of labels and predictions."""
        precision = 1 / self.variances
        log = -0.5 * (
            x**2 @ precision.T
            - 2 * x @ (self.means * precision).T
            + (self.means**2 * precision).sum(axis=1)
            + np.log(2 * np.pi * self.variances).sum(axis=1)
        )
        log = log + self.log_shares
        for values, probabilities, weight in ((y, self.labels, y_weight), (z, self.predictions, z_weight)):
            if values is not None and weight:
                log = log + weight * np.log(np.maximum(values @ probabilities.T, _TINY))
        return np.asarray(log)


def fit(
    x: Float[np.ndarray, "n q"],
    y: Float[np.ndarray, "n c"],
    z: Float[np.ndarray, "n c"],
    responsibilities: Float[np.ndarray, "n s"],
    counts: Float[np.ndarray, " n"],
    y_weight: float,
    z_weight: float,
    max_iter: int,
) -> Mixture:
    """Expectation and maximisation in turn, from given responsibilities, until the likelihood hardly rises.

    Args:
        x: Embeddings, reduced.
        y, z: Labels, and predicted probabilities, one column per class.
        responsibilities: To begin with; rows sum to 1.
        counts: Of the examples.
        y_weight, z_weight: Exponents of the labels' and the predictions' likelihood; 0 leaves them out.
        max_iter: Steps at most.
    """
    before = -np.inf
    mixture = _maximised(x, y, z, responsibilities, counts)
    for _ in range(max_iter):
        log = mixture.log_joint(x, y, z, y_weight, z_weight)
        norm = logsumexp(log, axis=1)
        likelihood = float(np.average(norm, weights=counts))
        mixture = _maximised(x, y, z, np.exp(log - norm[:, None]), counts)
        if abs(likelihood - before) < _TOLERANCE:
            break
        before = likelihood
    return mixture


def _maximised(x: np.ndarray, y: np.ndarray, z: np.ndarray, q: np.ndarray, counts: np.ndarray) -> Mixture:
    mass = q * counts[:, None]
    total = mass.sum(axis=0) + 10 * np.finfo(np.float64).eps
    means = mass.T @ x / total[:, None]
    variances = mass.T @ x**2 / total[:, None] - means**2 + _LEAST_VARIANCE
    return Mixture(
        np.log(total / total.sum()),
        means,
        np.maximum(variances, _LEAST_VARIANCE),
        mass.T @ y / total[:, None],
        mass.T @ z / total[:, None],
    )
