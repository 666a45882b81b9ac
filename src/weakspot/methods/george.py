"""Clusters within each class, as many as their silhouette says (Sohoni et al., NeurIPS 2020)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist

from weakspot.methods.base import Callback, Method, embeddings_for, parameters_of
from weakspot.methods.domino.mixture import Mixture
from weakspot.methods.gmm import gaussians, mixture_of, posteriors
from weakspot.methods.parts import Examples, check_at_least, counts_of, worst
from weakspot.methods.residuals import groups
from weakspot.methods.space import Space, reduced
from weakspot.predictions import Predictions
from weakspot.tasks import Task

_SILHOUETTE_ROWS = 2000  # that a silhouette is taken from


class George(Method):
    """Clusters of each class by a Gaussian mixture in few dimensions, those of the highest mean loss.

    Sohoni, Dunnmon, Angus, Gu, Ré: No subclass left behind, Fine-grained robustness in coarse-grained classification
    problems, NeurIPS 2020. The number of clusters of a class is that of the highest mean silhouette. The paper reduces
    by UMAP and splits clusters further; here the reduction is to principal components, and the covariances are
    diagonal in them.

    n_slices       at most; all of them do worse than the whole
    n_components   principal components, of each class on its own
    max_clusters   of a class
    min_size       examples in a slice, at least
    seed           of the k-means starts

    An example belongs to a cluster of its label by its posterior probability.
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
        self.check(counts_of(p).sum(), p.task)
        tell = callback or (lambda stage, done, total: None)
        some = Examples.of(p)
        parts = some.parts()
        found: list[tuple[Space, Mixture, int, int]] = []
        sizes, losses = [], []
        for done, rows in enumerate(parts):
            tell("classes", done, len(parts))
            counts = some.counts[rows]
            space = reduced(some.x[rows], counts, self.n_components, self.seed)
            x = space.of(some.x[rows])
            mixture = self._mixture(x, counts)
            posterior = posteriors(mixture, x)
            sizes.append(counts @ posterior)
            losses.append((counts * some.bad[rows]) @ posterior)
            code = int(some.codes[rows[0]])
            found += [(space, mixture, component, code) for component in range(posterior.shape[1])]
        tell("classes", len(parts), len(parts))
        chosen = worst(some, np.concatenate(sizes), np.concatenate(losses), self.n_slices, self.min_size)
        parameters = _stored([found[j] for j in chosen], some.x.shape[1])
        self.slices_ = some.slices(self, p, _belonging(some.record, **parameters), parameters)
        return self

    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """The posterior probability within the label's mixture; by place alone where labels are unknown."""
        names = ("centres", "directions", "log_shares", "means", "variances", "components", "labels")
        parameters = dict(zip(names, parameters_of(self._fitted(), *names), strict=True))
        embeddings_for(p.embeddings, parameters["centres"].shape[1], "the subclasses")
        return _belonging(p, **parameters)

    def _mixture(self, x: Float[np.ndarray, "m q"], counts: Float[np.ndarray, " m"]) -> Mixture:
        """Of as many Gaussians as have the highest silhouette; one where no two clusters can be told apart."""
        best, kept = 0.0, gaussians(x, counts, 1, 1, self.seed)
        rows = np.random.default_rng(self.seed).permutation(len(x))[:_SILHOUETTE_ROWS]
        distances = cdist(x[rows], x[rows])
        for k in range(2, min(self.max_clusters, len(x) - 1) + 1):
            mixture = gaussians(x, counts, k, 100, self.seed)
            labels = posteriors(mixture, x[rows]).argmax(axis=1)
            score = silhouette(distances, labels, counts[rows])
            if score > best * (1 + 1e-9):
                best, kept = score, mixture
        return kept


def silhouette(
    distances: Float[np.ndarray, "m m"], labels: Int[np.ndarray, " m"], counts: Float[np.ndarray, " m"]
) -> float:
    """The mean silhouette of examples that count several times; 0 where all are in one cluster.

    Rousseeuw: Silhouettes, Journal of Computational and Applied Mathematics 20 (1987).
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


def _stored(found: list[tuple[Space, Mixture, int, int]], width: int) -> dict[str, np.ndarray]:
    """Arrays of one row per slice; mixtures of fewer Gaussians than others are filled up with ones of no share."""
    k, most = len(found), max((len(mixture.log_shares) for _, mixture, _, _ in found), default=0)
    q = found[0][0].components.shape[1] if found else 0
    stored = {
        "centres": np.zeros((k, width)),
        "directions": np.zeros((k, width, q)),
        "log_shares": np.full((k, most), -np.inf),
        "means": np.zeros((k, most, q)),
        "variances": np.ones((k, most, q)),
        "components": np.array([component for _, _, component, _ in found], dtype=np.int64),
        "labels": np.array([code for _, _, _, code in found], dtype=np.int64),
    }
    for j, (space, mixture, _, _) in enumerate(found):
        s = len(mixture.log_shares)
        stored["centres"][j], stored["directions"][j] = space.centre, space.components
        stored["log_shares"][j, :s] = mixture.log_shares
        stored["means"][j, :s], stored["variances"][j, :s] = mixture.means, mixture.variances
    return stored


def _belonging(
    p: Predictions,
    centres: np.ndarray,
    directions: np.ndarray,
    log_shares: np.ndarray,
    means: np.ndarray,
    variances: np.ndarray,
    components: np.ndarray,
    labels: np.ndarray,
) -> Float[np.ndarray, "n k"]:
    belongs = np.zeros((len(p), len(labels)))
    for j, label in enumerate(labels):
        rows = np.arange(len(p)) if p.labels is None else np.flatnonzero(groups(p) == label)
        x = Space(centres[j], directions[j]).of(p.embeddings[rows])
        belongs[rows, j] = posteriors(mixture_of(log_shares[j], means[j], variances[j]), x)[:, components[j]]
    return belongs
