"""Clusters within each class, whose number the silhouette chooses (Sohoni et al., NeurIPS 2020)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist

from weakspot.methods.base import Callback, Method, embeddings_for, no_progress, parameters_of
from weakspot.methods.domino.mixture import Mixture
from weakspot.methods.gmm import fit_gaussians, mixture_of, posteriors
from weakspot.methods.ordered_examples import OrderedExamples, worst_groups
from weakspot.methods.principal_components import PrincipalComponents, fit_principal_components
from weakspot.methods.residuals import label_codes
from weakspot.methods.setting_checks import check_at_least
from weakspot.predictions import Predictions
from weakspot.tasks import Task

_SILHOUETTE_ROWS = 2000  # the most rows that a silhouette is computed from


class _Cluster(NamedTuple):
    reduction: PrincipalComponents  # of its class
    mixture: Mixture  # of its class
    component: int
    label: int


class George(Method):
    """Clusters each class by a Gaussian mixture in few dimensions, and finds the clusters with the highest mean loss.

    Sohoni, Dunnmon, Angus, Gu, Ré: No subclass left behind, Fine-grained robustness in coarse-grained classification
    problems, NeurIPS 2020. The number of clusters of a class is the one with the highest mean silhouette. The paper
    reduces embeddings by UMAP and splits clusters further; here they are reduced to principal components, in which
    the covariances are diagonal.

    The membership of an example in a cluster of its label is its posterior probability.

    Args:
        n_slices: The largest number of slices; only clusters that do worse than all examples together are slices.
        n_components: The number of principal components, which are computed for each class separately.
        max_clusters: The largest number of clusters of a class.
        min_size: The fewest examples in a slice.
        seed: The seed of the k-means initialisations.
    """

    word = "george"
    noun = "Subclass"
    size_parameter = "min_size"

    def __init__(
        self,
        n_slices: int = 5,
        n_components: int = 8,
        max_clusters: int = 10,
        min_size: int = 20,
        seed: int = 0,
    ) -> None:
        self.n_slices = n_slices
        self.n_components = n_components
        self.max_clusters = max_clusters
        self.min_size = min_size
        self.seed = seed

    def check(self, n: float, task: Task | None) -> None:
        check_at_least(self, n_slices=1, n_components=1, max_clusters=2, min_size=1)

    def fit(self, p: Predictions, callback: Callback | None = None) -> George:
        """Cluster each class of `p`, and keep the clusters that fail most."""
        self.check(p.row_counts.sum(), p.task)
        report_progress = callback or no_progress
        examples = OrderedExamples.of(p)
        rows_by_label = examples.rows_by_label()
        clusters: list[_Cluster] = []
        sizes, losses = [], []
        for done, rows in enumerate(rows_by_label):
            report_progress("classes", done, len(rows_by_label))
            counts = examples.counts[rows]
            reduction = fit_principal_components(examples.x[rows], counts, self.n_components, self.seed)
            x = reduction.transform(examples.x[rows])
            mixture = self._mixture(x, counts)
            posterior = posteriors(mixture, x)
            sizes.append(counts @ posterior)
            losses.append((counts * examples.losses[rows]) @ posterior)
            label = int(examples.labels[rows[0]])
            clusters += [
                _Cluster(reduction, mixture, component, label) for component in range(posterior.shape[1])
            ]
        report_progress("classes", len(rows_by_label), len(rows_by_label))
        chosen = worst_groups(
            examples, np.concatenate(sizes), np.concatenate(losses), self.n_slices, self.min_size
        )
        parameters = _parameters_of([clusters[j] for j in chosen], examples.x.shape[1])
        self.slices_ = examples.slices(self, p, _memberships(examples.record, **parameters), parameters)
        return self

    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """Return the posterior probability in the label's mixture; if labels are unknown, in each slice's own."""
        names = ("centres", "directions", "log_shares", "means", "variances", "components", "labels")
        parameters = dict(zip(names, parameters_of(self._fitted(p), *names), strict=True))
        embeddings_for(p.embeddings, parameters["centres"].shape[1], "the subclasses")
        return _memberships(p, **parameters)

    def _mixture(self, x: Float[np.ndarray, "m q"], counts: Float[np.ndarray, " m"]) -> Mixture:
        """Fit the number of Gaussians with the highest mean silhouette; one Gaussian if none is positive."""
        best_score, best = 0.0, fit_gaussians(x, counts, 1, 1, self.seed)
        rows = np.random.default_rng(self.seed).permutation(len(x))[:_SILHOUETTE_ROWS]
        distances = cdist(x[rows], x[rows])
        for k in range(2, min(self.max_clusters, len(x) - 1) + 1):
            mixture = fit_gaussians(x, counts, k, 100, self.seed)
            labels = posteriors(mixture, x[rows]).argmax(axis=1)
            score = silhouette(distances, labels, counts[rows])
            if score > best_score * (1 + 1e-9):
                best_score, best = score, mixture
        return best


def silhouette(
    distances: Float[np.ndarray, "m m"], labels: Int[np.ndarray, " m"], counts: Float[np.ndarray, " m"]
) -> float:
    """Return the mean silhouette of examples with counts; 0 if all are in one cluster.

    The silhouette of an example is s = (b - a) / max(a, b), with a the mean distance to the others of its cluster and
    b the least mean distance to another cluster; it is 0 in a cluster of one. Scikit-learn's silhouette_score does not
    support counts.

    Rousseeuw: Silhouettes, Journal of Computational and Applied Mathematics 20 (1987).

    Args:
        distances: (m, m) between the examples.
        labels: (m,) their clusters.
        counts: (m,) how often each counts.
    """
    present, labels = np.unique(labels, return_inverse=True)
    if len(present) < 2:
        return 0.0
    mass = np.eye(len(present))[labels] * counts[:, None]
    sums, sizes, own = distances @ mass, mass.sum(axis=0), np.arange(len(labels))
    others = sizes[labels] - 1  # of its own cluster: all but the example itself
    within = sums[own, labels] / np.where(others > 0, others, 1.0)
    sums[own, labels] = np.inf
    between = (sums / sizes).min(axis=1)
    larger = np.maximum(np.maximum(within, between), 1e-300)
    return float(np.average(np.where(others > 0, (between - within) / larger, 0.0), weights=counts))


def _parameters_of(clusters: list[_Cluster], width: int) -> dict[str, np.ndarray]:
    """Return arrays with one row per slice; smaller mixtures are padded with Gaussians of share 0."""
    k, most = len(clusters), max((len(cluster.mixture.log_shares) for cluster in clusters), default=0)
    q = clusters[0].reduction.components.shape[1] if clusters else 0
    parameters = {
        "centres": np.zeros((k, width)),
        "directions": np.zeros((k, width, q)),
        "log_shares": np.full((k, most), -np.inf),
        "means": np.zeros((k, most, q)),
        "variances": np.ones((k, most, q)),
        "components": np.array([cluster.component for cluster in clusters], dtype=np.int64),
        "labels": np.array([cluster.label for cluster in clusters], dtype=np.int64),
    }
    for j, cluster in enumerate(clusters):
        reduction, mixture = cluster.reduction, cluster.mixture
        s = len(mixture.log_shares)
        parameters["centres"][j], parameters["directions"][j] = reduction.centre, reduction.components
        parameters["log_shares"][j, :s] = mixture.log_shares
        parameters["means"][j, :s], parameters["variances"][j, :s] = mixture.means, mixture.variances
    return parameters


def _memberships(
    p: Predictions,
    centres: np.ndarray,
    directions: np.ndarray,
    log_shares: np.ndarray,
    means: np.ndarray,
    variances: np.ndarray,
    components: np.ndarray,
    labels: np.ndarray,
) -> Float[np.ndarray, "n k"]:
    """Return the posterior probability of each slice's component, for examples of its label."""
    memberships = np.zeros((len(p), len(labels)))
    for j, label in enumerate(labels):
        rows = np.arange(len(p)) if p.labels is None else np.flatnonzero(label_codes(p) == label)
        x = PrincipalComponents(centres[j], directions[j]).transform(p.embeddings[rows])
        memberships[rows, j] = posteriors(mixture_of(log_shares[j], means[j], variances[j]), x)[
            :, components[j]
        ]
    return memberships
