"""Components of a Gaussian mixture with the highest mean loss: the baseline in the Spotlight's repository."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.special import softmax

from weakspot.methods.base import Callback, Method, embeddings_for, no_progress, parameters_of
from weakspot.methods.domino.mixture import Mixture, fit_mixture
from weakspot.methods.kmeans import fit_k_means
from weakspot.methods.ordered_examples import OrderedExamples, worst_groups
from weakspot.methods.setting_checks import check_at_least, check_at_most_examples
from weakspot.predictions import Predictions
from weakspot.tasks import Task


class Gmm(Method):
    """Finds the components of a Gaussian mixture in which the mean loss is highest.

    The baseline in the code of d'Eon, d'Eon, Wright, Leyton-Brown: The Spotlight, FAccT 2022. It is scikit-learn's
    GaussianMixture with diagonal covariances (tests/methods/test_gmm.py), except that examples may have counts.

    The membership of an example in a component is its posterior probability.

    Args:
        n_slices: The largest number of slices; only components that do worse than all examples together are slices.
        n_components: The number of components of the mixture.
        min_size: The fewest examples in a slice.
        max_iter: The largest number of EM steps.
        seed: The seed of the k-means initialisation.
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
        check_at_most_examples(self, "n_components", n)

    def fit(self, p: Predictions, callback: Callback | None = None) -> Gmm:
        """Fit the mixture to the embeddings of `p`, and keep the components that fail most."""
        self.check(p.row_counts.sum(), p.task)
        report_progress = callback or no_progress
        report_progress("mixture", 0, 1)
        examples = OrderedExamples.of(p)
        centre = np.average(examples.x, axis=0, weights=examples.counts)
        x = examples.x - centre
        mixture = fit_gaussians(x, examples.counts, self.n_components, self.max_iter, self.seed)
        posterior = posteriors(mixture, x)
        sizes, losses = examples.counts @ posterior, (examples.counts * examples.losses) @ posterior
        chosen = worst_groups(examples, sizes, losses, self.n_slices, self.min_size)
        parameters = {
            "centre": centre,
            "log_shares": mixture.log_shares,
            "means": mixture.means,
            "variances": mixture.variances,
            "chosen": chosen,
        }
        self.slices_ = examples.slices(self, p, posterior[:, chosen], parameters)
        report_progress("mixture", 1, 1)
        return self

    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """Return the posterior probability of each component."""
        centre, log_shares, means, variances, chosen = parameters_of(
            self._fitted(p), "centre", "log_shares", "means", "variances", "chosen"
        )
        x = embeddings_for(p.embeddings, len(centre), "the components").astype(np.float64) - centre
        return posteriors(mixture_of(log_shares, means, variances), x)[:, chosen]


def fit_gaussians(
    x: Float[np.ndarray, "n q"], counts: Float[np.ndarray, " n"], components: int, max_iter: int, seed: int
) -> Mixture:
    """Fit Gaussians of diagonal covariance by EM, initialised by k-means.

    It is Domino's mixture with labels and predictions that are constant.

    Args:
        x: (n, q) examples.
        counts: (n,) how often each counts.
        components: The number of Gaussians; fewer if there are fewer examples.
        max_iter: The largest number of EM steps.
        seed: The seed of the k-means initialisation.
    """
    start = fit_k_means(x, counts, components, 1, seed).labels_
    constant = np.ones((len(x), 1))
    return fit_mixture(
        x, constant, constant, np.eye(min(components, len(x)))[start], counts, 0.0, 0.0, max_iter
    )


def mixture_of(
    log_shares: Float[np.ndarray, " s"], means: Float[np.ndarray, "s q"], variances: Float[np.ndarray, "s q"]
) -> Mixture:
    """Return the mixture of Gaussians with these log shares (s,), means (s, q) and variances (s, q)."""
    constant = np.ones((len(means), 1))
    return Mixture(log_shares, means, variances, constant, constant)


def posteriors(mixture: Mixture, x: Float[np.ndarray, "n q"]) -> Float[np.ndarray, "n s"]:
    """Return the posterior probability of each Gaussian for each example (n, s)."""
    probabilities: np.ndarray = softmax(mixture.log_joint(x, None, None, 0.0, 0.0), axis=1)
    return probabilities.clip(0, 1)
