"""UDIS as an estimator: arrays in, slices out."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from jaxtyping import Float

from weakspot.methods.base import Audited, Callback, Method, NearMiss
from weakspot.methods.udis.audit import Audit, assigned_to, class_of, column_of, judged
from weakspot.methods.udis.clustering import Clustering, Leaves, Wanted, cluster
from weakspot.methods.udis.exact import Examples
from weakspot.methods.udis.findings import Finder, failing_clusters
from weakspot.methods.udis.membership import graded, membership, nearest_clusters, radii_of
from weakspot.methods.udis.misses import Measure, without_failing, worst_clusters
from weakspot.methods.udis.nodes import MOST_VALUES, Nodes, row_sums
from weakspot.methods.udis.tree import build
from weakspot.predictions import Predictions
from weakspot.predictions.attributes import categorise
from weakspot.predictions.validation import check_finite
from weakspot.slices import ClusterNode, Memberships, Slices, Weights
from weakspot.tasks import Task

_MICRO_CLUSTERS = 4000
_DEAR = {"cpu": 2.5e13, "cuda": 1e15}
"""n²·d above which exact clustering is too dear unless asked for: half an hour of two cores, or minutes of a GPU."""


class UDIS(Method):
    """Clusters of embedding space in which a model is right far less often than on the whole.

    Ward's hierarchical clustering of the embeddings, cut where the mean silhouette is highest; the clusters
    whose accuracy is below `accuracy_threshold` times the model's own are the slices, worst first.

    Krishnakumar, Prabhu, Sudhakar, Hoffman: UDIS, Unsupervised Discovery of Bias in Deep Visual Recognition
    Models, BMVC 2021. Where the published search climbs to some peak of the silhouette, every cut is scored.

    min_cluster_size    from 1 on it counts examples, below 1 it is a share of them. The finest cut sought is
                        the largest at which no cluster is smaller; a failing cluster is larger
    max_cluster_size    likewise; the range of cuts ends where some cluster is larger
    accuracy_threshold  in (0, 1]: share of the overall score below which a cluster fails
    metric              "accuracy", or "f1" (with a category, that category's)
    category            audit only the examples predicted to be of this class (name or index); right are those
                        whose label has it
    cut                 "silhouette", or a number of clusters
    search              "exact": the best of all cuts in the range; "published": the hill climb
    dtype               of the distances: "float64", or "float32" (half the memory and time; with a matrix,
                        near-ties may merge in another order)
    approximate         "auto": exact up to n²·d = 2.5·10¹³ (220 000 × 512), beyond that on about 4000
                        micro-clusters, and coarse cuts only; None: always exact; an int: on that many
                        micro-clusters
    memory_limit        in GB (10⁹ bytes): where an n × n matrix of distances fits, one is used, being faster;
                        the exact tree is the same without, in memory of order n·d
    seed                of the approximate route; the exact one has no randomness
    members             "nearest": 0 or 1, as published; "distance": graded, 1 at a cluster's centre, a half at its
                        RMS radius, and no more within its edge than beyond it
    device              "cpu", "cuda" or any torch device; on another than the CPU, no matrix is used

    Fitted, with r audited examples:

    linkage_      (r-1, 4) in SciPy's convention; of the micro-clusters where approximate
    cut_          number of clusters
    cut_scores_   {k: mean silhouette} of every cut in the range
    cut_errors_   {k: its standard error}, empty where scores are exact
    labels_       (n,) cluster of every example before pruning, -1 outside the category. Clusters are numbered
                  by their node in the linkage, as published
    tree_         a `weakspot.slices.ClusterNode`
    slices_       one slice per failing cluster
    approximate_  how many micro-clusters were asked for, or None
    """

    word = "udis"
    noun = "Cluster"
    size_parameter = "min_cluster_size"

    def __init__(
        self,
        min_cluster_size: float = 5,
        max_cluster_size: float = 100,
        accuracy_threshold: float = 0.66,
        metric: str = "accuracy",
        category: str | int | None = None,
        cut: str | int = "silhouette",
        search: str = "exact",
        dtype: str = "float64",
        approximate: str | int | None = "auto",
        memory_limit: float = 8.0,
        seed: int = 0,
        members: str = "nearest",
        device: str = "cpu",
    ) -> None:
        self.min_cluster_size = min_cluster_size
        self.max_cluster_size = max_cluster_size
        self.accuracy_threshold = accuracy_threshold
        self.metric = metric
        self.category = category
        self.cut = cut
        self.search = search
        self.dtype = dtype
        self.approximate = approximate
        self.memory_limit = memory_limit
        self.seed = seed
        self.members = members
        self.device = device

    def check(self, n: float, task: Task | None) -> None:
        """Raise ValueError for parameters that cannot be, a class that there is not, and a cut into more than `n`."""
        self._check()
        if self.category is not None and task is not None:
            class_of(self.category, task.classes)
        if self.cut != "silhouette" and int(self.cut) > n:
            raise ValueError(f"cut={self.cut} asks for more clusters than there are {n} examples; give less")

    def fit(self, p: Predictions, callback: Callback | None = None) -> UDIS:
        """Cluster `p`, which must tell which examples are right, and find the clusters that fail.

        `callback(stage, done, total)` is told of progress.
        """
        self._check()
        audit = Audit.of(p, self.category)
        check_finite("embeddings", p.embeddings, p.ids)
        if self.metric == "f1" and (audit.labels is None or audit.predictions is None):
            raise ValueError("metric='f1' needs labels and predictions, and these hold none; use accuracy")
        total = float(audit.counts.sum())
        smallest, largest = (
            _examples(size, total) for size in (self.min_cluster_size, self.max_cluster_size)
        )
        clusters = None if self.cut == "silhouette" else int(self.cut)
        micro = self._micro_clusters(len(audit.rows), p.embeddings.shape[1])
        if clusters is not None and clusters > (micro or len(audit.rows)):
            what = f"{len(audit.rows)} examples" if micro is None else f"{micro} micro-clusters"
            raise ValueError(f"cut={clusters} asks for more clusters than there are {what}; give less")
        tell = callback or (lambda stage, done, of: None)
        leaves = self._leaves(p, audit, micro, tell)
        found = cluster(leaves, Wanted(clusters, smallest, largest, self.search), tell)
        del leaves  # of order n² where there is a matrix
        self._describe(p, audit, found, smallest, micro)
        return self

    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """Whether other predictions' examples belong to each failing cluster, or how much, as `members` says.

        Examples not predicted to be of the audited category belong to none.
        """
        found = membership(self._fitted(), p.embeddings)
        found[~self.audited(p).rows] = 0
        return found

    def weights(self, p: Predictions) -> Weights:
        """The memberships, a row for each cluster; sparse where an example belongs to one cluster or to none."""
        slices = self._fitted()
        if "radii" in slices.parameters:
            return super().weights(p)
        rows = np.flatnonzero(self.audited(p).rows)
        found, labels = nearest_clusters(slices, p.embeddings)
        return Memberships.of_clusters(found, labels[rows], rows, len(p))

    def audited(self, p: Predictions) -> Audited:
        """All examples, or those predicted to be of the category, judged by that category alone."""
        if self.category is None:
            return super().audited(p)
        column = column_of(p, self.category)
        return Audited(assigned_to(p, column), judged(p, column))

    @classmethod
    def advice(cls, slices: Slices) -> list[str]:
        """What to know of clusters that are small, and where none fails, by how much the worst ones do not."""
        if len(slices):
            return super().advice(slices)
        fitted = cls.of(slices)
        return [without_failing(slices.tree, *fitted._standard(slices.tree), cls.near_misses(slices))]

    @classmethod
    def near_misses(cls, slices: Slices) -> list[NearMiss]:
        """Where no cluster fails, the three worst of those that are large enough to."""
        if len(slices) or slices.tree is None:
            return []
        return worst_clusters(slices.tree, *cls.of(slices)._standard(slices.tree))

    def _standard(self, tree: ClusterNode | None) -> tuple[Measure, float, float]:
        """By what a cluster fails, below which share of all, and the size that it must exceed."""
        measure: Measure = "f1" if self.metric == "f1" else "accuracy"
        size = self.min_cluster_size if tree is None else _examples(self.min_cluster_size, tree.size)
        return measure, self.accuracy_threshold, size

    def _describe(
        self, p: Predictions, audit: Audit, clustering: Clustering, smallest: float, micro: int | None
    ) -> None:
        cut, labels = clustering.cut, clustering.labels
        centers = row_sums(labels, audit.rows, audit.counts, p.embeddings, len(cut))
        centers /= np.bincount(labels, weights=audit.counts)[:, None]
        nodes = Nodes.of(cut, labels, audit, categorise(p.attributes, MOST_VALUES))
        failing, found = failing_clusters(nodes, len(cut), self.metric, self.accuracy_threshold, smallest)
        weights: Weights = Memberships.of_clusters(found, labels, audit.rows, len(p))
        parameters = {
            "centers": centers,
            "sizes": nodes.size[: len(cut)],
            "shares": nodes.shares[: len(cut)],
            "failing": found,
        }
        if self.members == "distance":
            parameters["radii"] = radii_of(p.embeddings, audit, labels, centers)[found]
            weights = np.zeros(weights.shape)
            weights[:, audit.rows] = graded(p.embeddings[audit.rows], centers[found], parameters["radii"]).T
        finder = Finder(p, audit, cut, nodes, labels, centers, smallest)

        self.linkage_ = clustering.linkage
        self.cut_ = len(cut)
        self.cut_scores_ = dict(clustering.scores)
        self.cut_errors_ = dict(clustering.errors)
        self.labels_ = np.full(len(p), -1)
        self.labels_[audit.rows] = labels
        self.tree_ = build(cut, nodes, labels, audit, failing)
        self.approximate_ = micro
        self.slices_ = Slices(
            method="udis",
            ids=p.ids,
            weights=weights,
            statistics=finder.statistics(found, weights),
            parameters=parameters,
            tree=self.tree_,
            provenance={
                "settings": {**self.get_params(), "device": str(self.device)},
                "predictions": p.manifest,
                "cut": self.cut_,
                "cut_scores": self.cut_scores_,
                "cut_errors": self.cut_errors_,
                "notes": _notes(nodes, micro, len(audit.rows)),
            },
        )

    def _micro_clusters(self, r: int, d: int) -> int | None:
        """How many micro-clusters to use for r examples, or None for the exact route."""
        if isinstance(self.approximate, (int, np.integer)):
            return int(self.approximate) if self.approximate < r else None
        dear = _DEAR["cpu" if self._on_cpu else "cuda"]
        if self.approximate is None or r * r * d <= dear or self._has_matrix(r, d):
            return None
        warnings.warn(
            f"{r} examples in {d} dimensions take n²·d = {r * r * d:.2g} steps to be clustered exactly, which is done "
            f"unasked up to {dear:.2g}: {_MICRO_CLUSTERS} micro-clusters are clustered instead, in coarse cuts only, "
            "and silhouettes are sampled; approximate=None takes the time",
            stacklevel=3,
        )
        return _MICRO_CLUSTERS

    @property
    def _on_cpu(self) -> bool:
        return str(self.device).partition(":")[0] == "cpu"

    def _has_matrix(self, r: int, d: int) -> bool:
        return self._on_cpu and Examples.gigabytes(r, d, self.dtype) <= self.memory_limit

    def _leaves(self, p: Predictions, audit: Audit, micro: int | None, tell: Callback) -> Leaves:
        if micro is None and self._has_matrix(len(audit.rows), p.embeddings.shape[1]):
            return Examples.of(p.embeddings, audit.rows, audit.counts, self.dtype, tell)
        # these need torch, which takes seconds to import
        if micro is not None:
            from weakspot.methods.udis.approximate import MicroClusters

            return MicroClusters.of(p.embeddings, audit.rows, audit.counts, micro, self.seed, tell)
        from weakspot.methods.udis.matrix_free import Rows

        device = Rows.device_of(self.device)
        return Rows(p.embeddings, audit.rows, audit.counts, self.dtype, device)

    def _check(self) -> None:
        choices = {
            "metric": ("accuracy", "f1"),
            "search": ("exact", "published"),
            "dtype": ("float64", "float32"),
            "members": ("nearest", "distance"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r} is unknown; choose {' or '.join(known)}")
        if self.cut != "silhouette" and not _is_count(self.cut, 1):
            raise ValueError(f"cut={self.cut!r} must be 'silhouette' or a number of clusters, 1 or more")
        if self.approximate not in ("auto", None) and not _is_count(self.approximate, 2):
            raise ValueError(
                f"approximate={self.approximate!r} must be 'auto', None, or 2 or more micro-clusters"
            )
        for name in ("min_cluster_size", "max_cluster_size", "memory_limit"):
            value = getattr(self, name)
            if isinstance(value, (bool, str)) or not 0 < value < np.inf:
                raise ValueError(f"{name}={value!r} must be a positive number")
        if not self._on_cpu:
            from weakspot.methods.udis.matrix_free import Rows

            Rows.device_of(self.device)
        if not 0 < self.accuracy_threshold <= 1:
            raise ValueError(f"accuracy_threshold={self.accuracy_threshold!r} must lie in (0, 1]")


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value >= least)


def _examples(size: float, total: float) -> float:
    """A size in examples: from 1 on it counts them, below 1 it is a share of the total.

    A share that is a whole number but for rounding is that number: 0.07 of 100 examples are 7, not a bit more.
    """
    if size >= 1:
        return float(size)
    wanted = float(size) * total
    return float(round(wanted)) if abs(wanted - round(wanted)) <= 1e-9 * wanted else wanted


def _notes(nodes: Nodes, micro: int | None, r: int) -> list[str]:
    """What a reader of the result must know."""
    notes = []
    if micro is not None:
        notes.append(
            f"approximate: Ward on {micro} micro-clusters of {r} examples, in coarse cuts only; "
            "silhouettes on a sample of rows"
        )
    if nodes.accuracy[-1] == 0:
        notes.append("every example is wrong: no cluster is worse than the model as a whole")
    return notes
