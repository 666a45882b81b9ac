"""A mixture of Gaussians over embeddings and of categorical distributions over labels and predictions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from weakspot.methods.expectation_maximization import expectation_maximization

_LEAST_VARIANCE = 1e-6
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Mixture:
    """Holds the parameters of s components.

    Attributes:
        log_shares: (s,) logarithms of the components' shares.
        means: (s, q) of the embeddings.
        variances: (s, q) of the embeddings; covariances are diagonal.
        labels: (s, c) probabilities of the labels.
        predictions: (s, c) probabilities of the predicted classes.
    """

    log_shares: Float[np.ndarray, " s"]
    means: Float[np.ndarray, "s q"]
    variances: Float[np.ndarray, "s q"]
    labels: Float[np.ndarray, "s c"]
    predictions: Float[np.ndarray, "s c"]

    def log_joint(
        self,
        x: Float[np.ndarray, "n q"],
        y: Float[np.ndarray, "n c"] | None,
        z: Float[np.ndarray, "n c"] | None,
        y_weight: float,
        z_weight: float,
    ) -> Float[np.ndarray, "n s"]:
        """Return log π_s + log N(x; μ_s, σ²_s) + y_weight · log P(y | s) + z_weight · log P(z | s) (n, s).

        Args:
            x: (n, q) reduced embeddings.
            y: (n, c) labels, one column per class; None leaves their term out.
            z: (n, c) predicted probabilities; None leaves their term out.
            y_weight: The exponent of the labels' likelihood.
            z_weight: The exponent of the predictions' likelihood.
        """
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


def fit_mixture(
    x: Float[np.ndarray, "n q"],
    y: Float[np.ndarray, "n c"],
    z: Float[np.ndarray, "n c"],
    responsibilities: Float[np.ndarray, "n s"],
    counts: Float[np.ndarray, " n"],
    y_weight: float,
    z_weight: float,
    max_iter: int,
) -> Mixture:
    """Fit the mixture by expectation–maximisation, from given responsibilities.

    Args:
        x: (n, q) reduced embeddings.
        y: (n, c) labels, one column per class.
        z: (n, c) predicted probabilities, one column per class.
        responsibilities: (n, s) to start from; rows sum to 1.
        counts: (n,) how often each example counts.
        y_weight: The exponent of the labels' likelihood; 0 leaves them out.
        z_weight: The exponent of the predictions' likelihood; 0 leaves them out.
        max_iter: The largest number of steps.
    """
    return expectation_maximization(
        lambda shares: _maximize(x, y, z, shares, counts),
        lambda mixture: mixture.log_joint(x, y, z, y_weight, z_weight),
        responsibilities,
        counts,
        max_iter,
    )


def _maximize(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, responsibilities: np.ndarray, counts: np.ndarray
) -> Mixture:
    """Return the parameters that fit responsibilities (n, s) best."""
    mass = responsibilities * counts[:, None]
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
