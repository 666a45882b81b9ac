"""Components of a Gaussian mixture, those of the highest mean loss: the baseline of the Spotlight's own repository."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.special import softmax

from weakspot.methods.base import Callback, Method, embeddings_for, parameters_of
from weakspot.methods.domino.mixture import Mixture, fit
from weakspot.methods.parts import Examples, check_at_least, check_parts, counts_of, k_means, worst
from weakspot.predictions import Predictions
from weakspot.tasks import Task


class Gmm(Method):
    """The components of a Gaussian mixture in which the mean loss is highest.

    The baseline in the code of d'Eon, d'Eon, Wright, Leyton-Brown: The Spotlight, FAccT 2022. It is scikit-learn's
    GaussianMixture with diagonal covariances (tests/test_gmm.py), except that examples may have counts.

    n_slices       at most; all of them do worse than the whole
    n_components   of the mixture
    min_size       examples in a slice, at least
    max_iter       steps of EM at most
    seed           of the k-means start

    An example belongs to a component by its posterior probability.
    """

    word = "gmm"
    noun = "Component"
    size_parameter = "min_size"

    def __init__(
        self,
        n_slices: int = 5,
        n_components: int = 50,
        min_size: int = 20,
        max_iter: int = 100,
        seed: int = 0,
    ) -> None:
        self.n_slices = n_slices
        self.n_components = n_components
        self.min_size = min_size
        self.max_iter = max_iter
        self.seed = seed

    def check(self, n: float, task: Task | None) -> None:
        check_at_least(self, n_slices=1, n_components=2, min_size=1, max_iter=1)
        check_parts(self, "n_components", n)

    def fit(self, p: Predictions, callback: Callback | None = None) -> Gmm:
        """Fit the mixture to the embeddings of `p`, and keep the components that fail most."""
        self.check(counts_of(p).sum(), p.task)
        tell = callback or (lambda stage, done, total: None)
        tell("mixture", 0, 1)
        some = Examples.of(p)
        centre = np.average(some.x, axis=0, weights=some.counts)
        x = some.x - centre
        mixture = gaussians(x, some.counts, self.n_components, self.max_iter, self.seed)
        posterior = posteriors(mixture, x)
        sizes, losses = some.counts @ posterior, (some.counts * some.bad) @ posterior
        chosen = worst(some, sizes, losses, self.n_slices, self.min_size)
        parameters = {
            "centre": centre,
            "log_shares": mixture.log_shares,
            "means": mixture.means,
            "variances": mixture.variances,
            "chosen": chosen,
        }
        self.slices_ = some.slices(self, p, posterior[:, chosen], parameters)
        tell("mixture", 1, 1)
        return self

    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """The posterior probability of each component."""
        centre, log_shares, means, variances, chosen = parameters_of(
            self._fitted(), "centre", "log_shares", "means", "variances", "chosen"
        )
        x = embeddings_for(p.embeddings, len(centre), "the components").astype(np.float64) - centre
        return posteriors(mixture_of(log_shares, means, variances), x)[:, chosen]


def gaussians(
    x: Float[np.ndarray, "n q"], counts: Float[np.ndarray, " n"], components: int, max_iter: int, seed: int
) -> Mixture:
    """Gaussians of diagonal covariance by EM from a k-means start; the mixture's labels and predictions say nothing."""
    start = k_means(x, counts, components, 1, seed).labels_
    nothing = np.ones((len(x), 1))
    return fit(x, nothing, nothing, np.eye(min(components, len(x)))[start], counts, 0.0, 0.0, max_iter)


def mixture_of(
    log_shares: Float[np.ndarray, " s"], means: Float[np.ndarray, "s q"], variances: Float[np.ndarray, "s q"]
) -> Mixture:
    """The mixture of such Gaussians."""
    nothing = np.ones((len(means), 1))
    return Mixture(log_shares, means, variances, nothing, nothing)


def posteriors(mixture: Mixture, x: Float[np.ndarray, "n q"]) -> Float[np.ndarray, "n s"]:
    """How likely each example is of each Gaussian."""
    probabilities: np.ndarray = softmax(mixture.log_joint(x, None, None, 0.0, 0.0), axis=1)
    return probabilities.clip(0, 1)
