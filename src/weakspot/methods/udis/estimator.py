"""UDIS as an estimator: arrays in, slices out."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from jaxtyping import Float

from weakspot.methods.base import AuditedRows, Callback, Method, NearMiss, check_predictions, no_progress
from weakspot.methods.udis.audited_arrays import (
    AuditedArrays,
    category_index,
    class_index,
    predicted_as,
    record_for_category,
    record_of_answers,
)
from weakspot.methods.udis.cut_choice import ChosenCut, CutRequest, choose_cut
from weakspot.methods.udis.failing_clusters import ClusterDescriber, failing_clusters
from weakspot.methods.udis.leaves import Leaves
from weakspot.methods.udis.matrix_leaves import MatrixLeaves
from weakspot.methods.udis.membership import graded_membership, membership, nearest_clusters, radii_of
from weakspot.methods.udis.near_misses import Measure, no_failing_message, worst_clusters
from weakspot.methods.udis.node_statistics import MOST_VALUES, NodeStatistics, row_sums
from weakspot.methods.udis.tree import build_tree
from weakspot.predictions import Predictions
from weakspot.predictions.attributes import categorise
from weakspot.predictions.validation import check_finite
from weakspot.slices import ClusterNode, Memberships, Slices, Weights
from weakspot.slices.failing_rule import ACCURACY_THRESHOLD
from weakspot.tasks import Task

_MICRO_CLUSTERS = 4000
_MAX_EXACT_STEPS = {"cpu": 2.5e13, "cuda": 1e15}
"""n²·d up to which approximate="auto" clusters exactly: half an hour on two cores, or minutes on a GPU."""


class UDIS(Method):
    """Finds clusters of embedding space in which a model is right far less often than overall.

    The embeddings are clustered by Ward's method, and the tree is cut where the mean silhouette is highest. The slices
    are the clusters whose accuracy is below `accuracy_threshold` times the model's own, worst first.

    Krishnakumar, Prabhu, Sudhakar, Hoffman: UDIS, Unsupervised Discovery of Bias in Deep Visual Recognition
    Models, BMVC 2021. The published search climbs to a local maximum of the silhouette; here every cut is scored.

    Args:
        min_cluster_size: A number of examples if at least 1, else a share of them. The finest cut has the most clusters
            none of which is smaller; a failing cluster is larger.
        max_cluster_size: Likewise; the other end of the range of cuts is the finest at which some cluster is larger.
        accuracy_threshold: The share of the overall score below which a cluster fails, in (0, 1].
        metric: "accuracy", or "f1" (with a category, that category's).
        category: Audit only the examples predicted as this class (name or index); those whose label has it are right.
        cut: "silhouette", or a number of clusters.
        search: "exact": the best of all cuts in the range; "published": the hill climb.
        dtype: The dtype of distances: "float64", or "float32" (half the memory and time; with a matrix, near-ties may
            merge in another order).
        approximate: "auto": exact up to n²·d = 2.5·10¹³ (220 000 × 512), beyond that on about 4000 micro-clusters,
            and coarse cuts only; None: always exact; an int: on that many micro-clusters.
        memory_limit: In GB (10⁹ bytes): if an n × n matrix of distances fits, it is used, because it is faster; without
            it the exact tree is the same, in memory of order n·d.
        seed: The seed of approximate clustering; exact clustering has no randomness.
        members: "nearest": 0 or 1, as published; "distance": graded by the distance from a cluster's centre, 1 there
            and a half at its RMS radius, with no step at its edge.
        device: "cpu", "cuda" or any torch device; a matrix is used only on the CPU.

    After fitting, with r audited examples:

    Attributes:
        linkage_: (r-1, 4) in SciPy's convention; of the micro-clusters if approximate.
        cut_: Number of clusters.
        cut_scores_: {k: mean silhouette} of every cut in the range.
        cut_errors_: {k: its standard error}, empty if scores are exact.
        labels_: (n,) cluster of every example before pruning, -1 outside the category. Clusters are numbered by their
            node in the linkage, as published.
        tree_: A `weakspot.slices.ClusterNode`.
        slices_: One slice per failing cluster.
        approximate_: How many micro-clusters were asked for, or None.
    """

    word = "udis"
    noun = "Cluster"
    size_parameter = "min_cluster_size"

    def __init__(
        self,
        min_cluster_size: float = 5,
        max_cluster_size: float = 100,
        accuracy_threshold: float = ACCURACY_THRESHOLD,
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
        """Raise ValueError for invalid settings, an unknown class, or a cut into more than `n` clusters."""
        self._check()
        if self.category is not None and task is not None:
            class_index(self.category, task.classes)
        if self.cut != "silhouette" and int(self.cut) > n:
            raise ValueError(f"cut={self.cut} asks for more clusters than {n} examples allow; give fewer")

    def check_record(self, p: Predictions) -> None:
        """Raise ValueError if the predictions do not say which examples are right."""
        record_of_answers(p, self.category)

    def fit(self, p: Predictions, callback: Callback | None = None) -> UDIS:
        """Cluster `p`, which must include correctness, and find the clusters that fail.

        `callback(stage, done, total)` is called with the progress.
        """
        check_predictions(p)
        self._check()
        audited = AuditedArrays.of(p, self.category)
        check_finite("embeddings", p.embeddings, p.ids)
        if self.metric == "f1" and (audited.labels is None or audited.predictions is None):
            raise ValueError("metric='f1' needs labels and predictions, and these hold none; use accuracy")
        total = float(audited.counts.sum())
        smallest, largest = (
            _in_examples(size, total) for size in (self.min_cluster_size, self.max_cluster_size)
        )
        clusters = None if self.cut == "silhouette" else int(self.cut)
        micro = self._micro_clusters(len(audited.rows), p.embeddings.shape[1])
        if clusters is not None and clusters > (micro or len(audited.rows)):
            what = f"{len(audited.rows)} examples" if micro is None else f"{micro} micro-clusters"
            raise ValueError(f"cut={clusters} asks for more clusters than {what} allow; give fewer")
        report_progress = callback or no_progress
        leaves = self._leaves(p, audited, micro, report_progress)
        linkage = leaves.linkage(report_progress)
        request = CutRequest(clusters, smallest, largest, self.search)
        chosen = choose_cut(leaves, linkage, request, report_progress)
        del leaves  # of order n² if there is a matrix
        self._describe(p, audited, chosen, smallest, micro)
        self.linkage_ = linkage
        return self

    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """Return the memberships of other predictions' examples in each failing cluster, as set by `members`.

        Examples that are not predicted as the audited category belong to none.
        """
        memberships = membership(self._fitted(p), p.embeddings)
        memberships[~self.audited(p).rows] = 0
        return memberships

    def weights(self, p: Predictions) -> Weights:
        """Return the memberships (k, n), sparse if an example belongs to at most one cluster."""
        slices = self._fitted(p)
        if "radii" in slices.parameters:
            return super().weights(p)
        rows = np.flatnonzero(self.audited(p).rows)
        failing, labels = nearest_clusters(slices, p.embeddings)
        return Memberships.of_clusters(failing, labels[rows], rows, len(p))

    def audited(self, p: Predictions) -> AuditedRows:
        """Return all examples, or those predicted as the category, judged by that category alone."""
        if self.category is None:
            return super().audited(p)
        column = category_index(p, self.category)
        return AuditedRows(predicted_as(p, column), record_for_category(p, column))

    @classmethod
    def advice(cls, slices: Slices) -> list[str]:
        """Warn of small clusters; if none fails, report how far the worst ones are from failing."""
        if len(slices):
            return super().advice(slices)
        fitted = cls.of(slices)
        return [
            no_failing_message(slices.tree, *fitted._failing_standard(slices.tree), cls.near_misses(slices))
        ]

    @classmethod
    def near_misses(cls, slices: Slices) -> list[NearMiss]:
        """Return the three worst clusters that are large enough to fail, if none fails."""
        if len(slices) or slices.tree is None:
            return []
        return worst_clusters(slices.tree, *cls.of(slices)._failing_standard(slices.tree))

    def _failing_standard(self, tree: ClusterNode | None) -> tuple[Measure, float, float]:
        """Return the measure, the share of its overall value below which a cluster fails, and the size to exceed."""
        measure: Measure = "f1" if self.metric == "f1" else "accuracy"
        size = self.min_cluster_size if tree is None else _in_examples(self.min_cluster_size, tree.size)
        return measure, self.accuracy_threshold, size

    def _describe(
        self,
        p: Predictions,
        audited: AuditedArrays,
        chosen: ChosenCut,
        smallest: float,
        micro: int | None,
    ) -> None:
        cut, labels = chosen.cut, chosen.labels
        centers = row_sums(labels, audited.rows, audited.counts, p.embeddings, len(cut))
        centers /= np.bincount(labels, weights=audited.counts)[:, None]
        nodes = NodeStatistics.of(cut, labels, audited, categorise(p.attributes, MOST_VALUES))
        is_failing, failing = failing_clusters(
            nodes, len(cut), self.metric, self.accuracy_threshold, smallest
        )
        weights: Weights = Memberships.of_clusters(failing, labels, audited.rows, len(p))
        parameters = {
            "centers": centers,
            "sizes": nodes.size[: len(cut)],
            "shares": nodes.shares[: len(cut)],
            "failing": failing,
        }
        if self.members == "distance":
            parameters["radii"] = radii_of(p.embeddings, audited, labels, centers)[failing]
            weights = np.zeros(weights.shape)
            weights[:, audited.rows] = graded_membership(
                p.embeddings[audited.rows], centers[failing], parameters["radii"]
            ).T
        describer = ClusterDescriber(p, audited, cut, nodes, labels, centers, smallest)

        self.cut_ = len(cut)
        self.cut_scores_ = dict(chosen.scores)
        self.cut_errors_ = dict(chosen.errors)
        self.labels_ = np.full(len(p), -1)
        self.labels_[audited.rows] = labels
        self.tree_ = build_tree(cut, nodes, labels, audited, is_failing)
        self.approximate_ = micro
        self.slices_ = Slices(
            method="udis",
            ids=p.ids,
            weights=weights,
            statistics=describer.statistics(failing, weights),
            parameters=parameters,
            tree=self.tree_,
            provenance={
                "settings": {**self.get_params(), "device": str(self.device)},
                "predictions": p.provenance,
                "cut": self.cut_,
                "cut_scores": self.cut_scores_,
                "cut_errors": self.cut_errors_,
                "notes": _notes(nodes, micro, len(audited.rows)),
            },
        )

    def _micro_clusters(self, r: int, d: int) -> int | None:
        """Return how many micro-clusters to use for r examples, or None for exact clustering."""
        if isinstance(self.approximate, (int, np.integer)):
            return int(self.approximate) if self.approximate < r else None
        limit = _MAX_EXACT_STEPS["cpu" if self._on_cpu else "cuda"]
        if self.approximate is None or r * r * d <= limit or self._has_matrix(r, d):
            return None
        warnings.warn(
            f"clustering {r} examples in {d} dimensions exactly takes n²·d = {r * r * d:.2g} steps (the limit "
            f"is {limit:.2g}): {_MICRO_CLUSTERS} micro-clusters are clustered instead, in coarse cuts only, "
            "and silhouettes are sampled; approximate=None clusters exactly",
            stacklevel=3,
        )
        return _MICRO_CLUSTERS

    @property
    def _on_cpu(self) -> bool:
        return str(self.device).partition(":")[0] == "cpu"

    def _has_matrix(self, r: int, d: int) -> bool:
        return self._on_cpu and MatrixLeaves.gigabytes(r, d, self.dtype) <= self.memory_limit

    def _leaves(
        self, p: Predictions, audited: AuditedArrays, micro: int | None, report_progress: Callback
    ) -> Leaves:
        if micro is None and self._has_matrix(len(audited.rows), p.embeddings.shape[1]):
            return MatrixLeaves.of(p.embeddings, audited.rows, audited.counts, self.dtype, report_progress)
        # These need torch, which takes seconds to import.
        if micro is not None:
            from weakspot.methods.udis.micro_clusters import MicroClusters

            return MicroClusters.of(
                p.embeddings, audited.rows, audited.counts, micro, self.seed, report_progress
            )
        from weakspot.methods.udis.matrix_free_leaves import MatrixFreeLeaves

        device = MatrixFreeLeaves.device_of(self.device)
        return MatrixFreeLeaves(p.embeddings, audited.rows, audited.counts, self.dtype, device)

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
            from weakspot.methods.udis.matrix_free_leaves import MatrixFreeLeaves

            MatrixFreeLeaves.device_of(self.device)
        if not 0 < self.accuracy_threshold <= 1:
            raise ValueError(f"accuracy_threshold={self.accuracy_threshold!r} must lie in (0, 1]")


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value >= least)


def _in_examples(size: float, total: float) -> float:
    """Return a size in examples: if at least 1 it counts them, else it is a share of the total.

    A share that is a whole number up to rounding is that number: 0.07 of 100 examples are 7, not slightly more.
    """
    if size >= 1:
        return float(size)
    examples = float(size) * total
    return float(round(examples)) if abs(examples - round(examples)) <= 1e-9 * examples else examples


def _notes(nodes: NodeStatistics, micro: int | None, r: int) -> list[str]:
    """Return what a reader of the result must know."""
    notes = []
    if micro is not None:
        notes.append(
            f"approximate: Ward on {micro} micro-clusters of {r} examples, in coarse cuts only; "
            "silhouettes on a sample of rows"
        )
    if nodes.accuracy[-1] == 0:
        notes.append("every example is wrong: no cluster is worse than the model as a whole")
    return notes
