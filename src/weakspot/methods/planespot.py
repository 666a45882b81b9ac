"""Components of a Gaussian mixture over two dimensions and the model's confidence (Plumb et al., TMLR 2023)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp, softmax

from weakspot.methods.base import Callback, Method, embeddings_for, no_progress, parameters_of
from weakspot.methods.expectation_maximization import expectation_maximization
from weakspot.methods.kmeans import fit_k_means
from weakspot.methods.ordered_examples import OrderedExamples
from weakspot.methods.principal_components import PrincipalComponents, fit_principal_components
from weakspot.methods.residuals import residuals
from weakspot.methods.setting_checks import check_at_least
from weakspot.predictions import Predictions
from weakspot.tasks import Task

_PARAMETERS = ("centre", "directions", "lowest", "width", "log_shares", "means", "covariances", "chosen")
_LEAST_VARIANCE = 1e-6
_ROUNDING = 1e-9


class PlaneSpot(Method):
    """Finds components of a Gaussian mixture over a plane and the confidence, ranked by errors × error rate.

    Plumb, Johnson, Cabrera, Talwalkar: Towards a more rigorous science of blindspot discovery in image classification
    models, TMLR 2023. Embeddings are reduced to two dimensions, each scaled to [0, 1]; the third is the confidence,
    which is the probability of the label, times a weight. The number of components is the one with the lowest BIC.

    The paper reduces embeddings by scvis, a variational autoencoder; here the dimensions are the first two principal
    components, which need no training and apply to other examples in the same way. Errors are 1 - confidence, as in
    the published code. Membership of other examples depends on the plane alone: the confidence reveals which are wrong,
    so a test of such a slice would be circular. `published_scores` reads the confidence, as the published tool does.

    Args:
        n_slices: The largest number of slices; only components that do worse than all examples together are slices.
        max_components: The largest number of components of the mixture; the smallest is n_slices.
        weight: The weight of the confidence relative to the two dimensions.
        max_iter: The largest number of EM steps.
        seed: The seed of the k-means initialisations.
    """

    word = "planespot"
    noun = "Component"

    def __init__(
        self,
        n_slices: int = 5,
        max_components: int = 32,
        weight: float = 0.025,
        max_iter: int = 100,
        seed: int = 0,
    ) -> None:
        self.n_slices = n_slices
        self.max_components = max_components
        self.weight = weight
        self.max_iter = max_iter
        self.seed = seed

    def check(self, n: float, task: Task | None) -> None:
        check_at_least(self, n_slices=1, weight=0, max_iter=1)
        if self.max_components < self.n_slices:
            raise ValueError(
                f"max_components={self.max_components} must be at least n_slices={self.n_slices}"
            )

    def fit(self, p: Predictions, callback: Callback | None = None) -> PlaneSpot:
        """Fit mixtures to `p`, take the one with the lowest BIC, and keep its worst components."""
        self.check(p.row_counts.sum(), p.task)
        report_progress = callback or no_progress
        examples = OrderedExamples.of(p)
        errors = residuals(examples.record)
        reduction = fit_principal_components(examples.x, examples.counts, 2, self.seed)
        plane = reduction.transform(examples.x)
        lowest, width = plane.min(axis=0), np.ptp(plane, axis=0)
        width = np.where(width > 0, width, 1.0)
        x = np.c_[(plane - lowest) / width, self.weight * (1 - errors)]
        numbers = range(self.n_slices, self.max_components + 1)
        best, lowest_bic = _fit_gaussians(x, examples.counts, numbers[0], self.max_iter, self.seed)
        for done, number in enumerate(numbers[1:], 1):
            report_progress("mixtures", done, len(numbers))
            mixture, bic = _fit_gaussians(x, examples.counts, number, self.max_iter, self.seed)
            if bic < lowest_bic:
                best, lowest_bic = mixture, bic
        report_progress("mixtures", len(numbers), len(numbers))
        joint = _log_joint(x, *best)
        nearest = np.eye(joint.shape[1])[joint.argmax(axis=1)]
        sizes, wrong = examples.counts @ nearest, (examples.counts * errors) @ nearest
        rate = wrong / np.maximum(sizes, 1e-300)
        worse = rate > np.average(errors, weights=examples.counts) + _ROUNDING
        ranked = np.argsort(-wrong * rate, kind="stable")
        chosen = ranked[worse[ranked]][: self.n_slices]
        values = (reduction.centre, reduction.components, lowest, width, *best, chosen)
        parameters = dict(zip(_PARAMETERS, values, strict=True))
        self.slices_ = examples.slices(self, p, softmax(joint, axis=1)[:, chosen].clip(0, 1), parameters)
        return self

    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """Return the posterior probability of each component given the position in the plane."""
        return self._posteriors(p, np.empty((len(p), 0)))

    def published_scores(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """Return the posterior probability given position and confidence, as published."""
        return self._posteriors(p, self.weight * (1 - residuals(p))[:, None])

    def _posteriors(self, p: Predictions, confidence: Float[np.ndarray, "n b"]) -> Float[np.ndarray, "n k"]:
        """Return the posterior probabilities given the plane, and the confidence (n, 1) unless left out (n, 0)."""
        centre, directions, lowest, width, log_shares, means, covariances, chosen = parameters_of(
            self._fitted(p), *_PARAMETERS
        )
        x = embeddings_for(p.embeddings, len(centre), "the components")
        x = np.c_[(PrincipalComponents(centre, directions).transform(x) - lowest) / width, confidence]
        q = x.shape[1]
        joint = _log_joint(x, log_shares, means[:, :q], covariances[:, :q, :q])
        return np.asarray(softmax(joint, axis=1)[:, chosen].clip(0, 1))


FullMixture = tuple[Float[np.ndarray, " s"], Float[np.ndarray, "s q"], Float[np.ndarray, "s q q"]]
"""Logarithms of the shares (s,), means (s, q) and covariances (s, q, q) of Gaussians."""


def _fit_gaussians(
    x: Float[np.ndarray, "n q"], counts: Float[np.ndarray, " n"], components: int, max_iter: int, seed: int
) -> tuple[FullMixture, float]:
    """Fit Gaussians of full covariance by EM, initialised by k-means.

    The result is scikit-learn's GaussianMixture (tests/methods/test_planespot.py), except that examples may have
    counts.

    Returns:
        The mixture and its Bayesian information criterion.
    """
    start = fit_k_means(x, counts, components, 1, seed).labels_
    mixture = expectation_maximization(
        lambda shares: _maximize(x, shares, counts),
        lambda mixture: _log_joint(x, *mixture),
        np.eye(components)[start],
        counts,
        max_iter,
    )
    likelihood = float(counts @ logsumexp(_log_joint(x, *mixture), axis=1))
    q = x.shape[1]
    free = components * (1 + q + q * (q + 1) / 2) - 1
    return mixture, free * float(np.log(counts.sum())) - 2 * likelihood


def _log_joint(
    x: Float[np.ndarray, "n q"],
    log_shares: Float[np.ndarray, " s"],
    means: Float[np.ndarray, "s q"],
    covariances: Float[np.ndarray, "s q q"],
) -> Float[np.ndarray, "n s"]:
    """Return the log of share × density of each component (n, s).

    It is a quadratic form in x, so linear in the monomials up to second order: one matrix product.
    """
    s, q = means.shape
    precisions = np.linalg.inv(covariances)
    precision_times_means = (precisions @ means[:, :, None])[:, :, 0]
    constant = -0.5 * (
        (precision_times_means * means).sum(axis=1) + np.linalg.slogdet(2 * np.pi * covariances)[1]
    )
    forms = np.c_[log_shares + constant, precision_times_means, -0.5 * precisions.reshape(s, q * q)]
    return np.asarray(_monomials(x) @ forms.T)


def _maximize(
    x: Float[np.ndarray, "n q"], responsibilities: Float[np.ndarray, "n s"], counts: Float[np.ndarray, " n"]
) -> FullMixture:
    """Return the mixture that fits responsibilities (n, s) best."""
    q = x.shape[1]
    sums = (responsibilities * counts[:, None]).T @ _monomials(x)
    total = sums[:, 0] + 10 * np.finfo(np.float64).eps
    means = sums[:, 1 : q + 1] / total[:, None]
    squares = sums[:, q + 1 :].reshape(-1, q, q) / total[:, None, None]
    covariances = squares - means[:, :, None] * means[:, None, :]
    return np.log(total / total.sum()), means, covariances + _LEAST_VARIANCE * np.eye(q)


def _monomials(x: Float[np.ndarray, "n q"]) -> Float[np.ndarray, "n m"]:
    """Return 1, all coordinates, and all products of two (n, 1 + q + q²)."""
    return np.asarray(np.c_[np.ones(len(x)), x, (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)])
