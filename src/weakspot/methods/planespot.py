"""Components of a mixture over two dimensions and the model's confidence (Plumb et al., TMLR 2023)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp, softmax

from weakspot.methods.base import Callback, Method, embeddings_for, parameters_of
from weakspot.methods.parts import Examples, check_at_least, counts_of, k_means
from weakspot.methods.residuals import residuals
from weakspot.methods.space import Space, reduced
from weakspot.predictions import Predictions
from weakspot.tasks import Task

_PARAMETERS = ("centre", "directions", "lowest", "width", "log_shares", "means", "covariances", "chosen")
_LEAST_VARIANCE = 1e-6
_TOLERANCE = 1e-3  # of the mean log likelihood, below which a step ends the run
_ROUNDING = 1e-9


class PlaneSpot(Method):
    """Components of a Gaussian mixture over a plane and the confidence, by their errors × their error rate.

    Plumb, Johnson, Cabrera, Talwalkar: Towards a more rigorous science of blindspot discovery in image classification
    models, TMLR 2023. Embeddings are reduced to two dimensions, each scaled to [0, 1]; the confidence, which is the
    probability of the label, is the third, times a weight. The number of components is that of the lowest BIC.

    n_slices         at most; all of them do worse than the whole
    max_components   of the mixture; there are at least as many as slices
    weight           of the confidence beside the two dimensions
    max_iter         steps of EM at most
    seed             of the k-means starts

    The paper reduces by scvis, a variational autoencoder; here the dimensions are the first two principal components,
    which need no training and place other examples alike. Errors are 1 - confidence, as in the published code.
    Membership of other examples is by the plane alone: their confidence tells who is wrong, and a test of such a slice
    would confirm itself. `published_scores` reads the confidence too, as the published tool does.
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
                f"max_components={self.max_components} must be at least as many as n_slices={self.n_slices}"
            )

    def fit(self, p: Predictions, callback: Callback | None = None) -> PlaneSpot:
        """Fit mixtures to `p`, take the one of the lowest BIC, and keep its components with the most errors."""
        self.check(counts_of(p).sum(), p.task)
        tell = callback or (lambda stage, done, total: None)
        some = Examples.of(p)
        errors = residuals(some.record)
        space = reduced(some.x, some.counts, 2, self.seed)
        plane = space.of(some.x)
        lowest, width = plane.min(axis=0), np.ptp(plane, axis=0)
        width = np.where(width > 0, width, 1.0)
        x = np.c_[(plane - lowest) / width, self.weight * (1 - errors)]
        numbers = range(self.n_slices, self.max_components + 1)
        best, least = _fitted(x, some.counts, numbers[0], self.max_iter, self.seed)
        for done, number in enumerate(numbers[1:], 1):
            tell("mixtures", done, len(numbers))
            mixture, bic = _fitted(x, some.counts, number, self.max_iter, self.seed)
            if bic < least:
                best, least = mixture, bic
        tell("mixtures", len(numbers), len(numbers))
        joint = _log_joint(x, *best)
        nearest = np.eye(joint.shape[1])[joint.argmax(axis=1)]
        sizes, wrong = some.counts @ nearest, (some.counts * errors) @ nearest
        rate = wrong / np.maximum(sizes, 1e-300)
        worse = rate > np.average(errors, weights=some.counts) + _ROUNDING
        ranked = np.argsort(-wrong * rate, kind="stable")
        chosen = ranked[worse[ranked]][: self.n_slices]
        found = (space.centre, space.components, lowest, width, *best, chosen)
        parameters = dict(zip(_PARAMETERS, found, strict=True))
        self.slices_ = some.slices(self, p, softmax(joint, axis=1)[:, chosen].clip(0, 1), parameters)
        return self

    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """By the place in the plane."""
        return self._posteriors(p, np.empty((len(p), 0)))

    def published_scores(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """By place and confidence, as published."""
        return self._posteriors(p, self.weight * (1 - residuals(p))[:, None])

    def _posteriors(self, p: Predictions, beside: Float[np.ndarray, "n b"]) -> Float[np.ndarray, "n k"]:
        """How likely each example is of each component, by the dimensions that are given."""
        centre, directions, lowest, width, log_shares, means, covariances, chosen = parameters_of(
            self._fitted(), *_PARAMETERS
        )
        x = embeddings_for(p.embeddings, len(centre), "the components")
        x = np.c_[(Space(centre, directions).of(x) - lowest) / width, beside]
        q = x.shape[1]
        joint = _log_joint(x, log_shares, means[:, :q], covariances[:, :q, :q])
        return np.asarray(softmax(joint, axis=1)[:, chosen].clip(0, 1))


Mixture = tuple[Float[np.ndarray, " s"], Float[np.ndarray, "s q"], Float[np.ndarray, "s q q"]]
"""Log of the shares, means and covariances."""


def _fitted(
    x: Float[np.ndarray, "n q"], counts: Float[np.ndarray, " n"], components: int, max_iter: int, seed: int
) -> tuple[Mixture, float]:
    """Gaussians of full covariance by EM from a k-means start, and their Bayesian information criterion.

    scikit-learn's GaussianMixture (tests/test_planespot.py), except that examples may have counts.
    """
    start = k_means(x, counts, components, 1, seed).labels_
    mixture, before, likelihood = _maximised(x, np.eye(components)[start], counts), -np.inf, 0.0
    for _ in range(max_iter):
        joint = _log_joint(x, *mixture)
        norm = logsumexp(joint, axis=1)
        likelihood = float(np.average(norm, weights=counts))
        mixture = _maximised(x, np.exp(joint - norm[:, None]), counts)
        if abs(likelihood - before) < _TOLERANCE:
            break
        before = likelihood
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
    """Log of share × density of each component: a quadratic form, and so linear in the second-order monomials."""
    s, q = means.shape
    precisions = np.linalg.inv(covariances)
    pulled = (precisions @ means[:, :, None])[:, :, 0]
    constant = -0.5 * ((pulled * means).sum(axis=1) + np.linalg.slogdet(2 * np.pi * covariances)[1])
    forms = np.c_[log_shares + constant, pulled, -0.5 * precisions.reshape(s, q * q)]
    return np.asarray(_monomials(x) @ forms.T)


def _maximised(
    x: Float[np.ndarray, "n q"], responsibilities: Float[np.ndarray, "n s"], counts: Float[np.ndarray, " n"]
) -> Mixture:
    q = x.shape[1]
    sums = (responsibilities * counts[:, None]).T @ _monomials(x)
    total = sums[:, 0] + 10 * np.finfo(np.float64).eps
    means = sums[:, 1 : q + 1] / total[:, None]
    squares = sums[:, q + 1 :].reshape(-1, q, q) / total[:, None, None]
    covariances = squares - means[:, :, None] * means[:, None, :]
    return np.log(total / total.sum()), means, covariances + _LEAST_VARIANCE * np.eye(q)


def _monomials(x: Float[np.ndarray, "n q"]) -> Float[np.ndarray, "n m"]:
    """1, all coordinates, and all products of two."""
    return np.asarray(np.c_[np.ones(len(x)), x, (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)])
