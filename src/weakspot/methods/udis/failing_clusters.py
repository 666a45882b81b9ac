"""The clusters that fail, their statistics, and the well-performing cluster nearest to each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from weakspot.methods.udis.audited_arrays import AuditedArrays, record_for_category
from weakspot.methods.udis.cut import TreeCut
from weakspot.methods.udis.node_statistics import NodeStatistics
from weakspot.methods.udis.tree import measures, pruned_nodes, top_attributes
from weakspot.predictions import Predictions
from weakspot.slices import Weights
from weakspot.slices.failing_rule import fails
from weakspot.slices.statistics import (
    AttributeShare,
    ClusterStatistics,
    NearestCluster,
    SliceStatistics,
    describe,
)

_MOST_NEIGHBOURS = 64
_MOST_CATEGORIES = 10
_ROWS = 8192


def failing_clusters(
    nodes: NodeStatistics, k: int, metric: str, threshold: float, smallest: float
) -> tuple[Bool[np.ndarray, " k"], Int[np.ndarray, " f"]]:
    """Find the clusters of more than `smallest` examples whose score is below `threshold` times the overall one.

    Args:
        nodes: The statistics of all nodes.
        k: The number of clusters.
        metric: "accuracy" or "f1".
        threshold: The share of the overall score.
        smallest: The size to exceed, in examples.

    Returns:
        (k,) whether each cluster fails, and (f,) those that do, worst first; among ties the higher loss comes first.
    """
    f1 = nodes.f1 if nodes.f1_category is None else nodes.f1_category
    score = nodes.accuracy if metric == "accuracy" or f1 is None else f1
    failing = fails(nodes.size[:k], score[:k], float(score[-1]), threshold, smallest)
    loss = np.zeros(k) if nodes.loss is None else nodes.loss[:k]
    worst = np.lexsort((-loss, nodes.accuracy[:k], ~failing))
    return failing, worst[: failing.sum()]


@dataclass(frozen=True, eq=False)
class ClusterDescriber:
    """Describes failing clusters.

    Attributes:
        p: The record.
        audited: Its audited rows.
        cut: The chosen cut.
        nodes: The statistics of its nodes.
        clusters: (r,) the cluster of every audited row.
        centers: (k, d) the means of the clusters.
        smallest: The size that a failing cluster exceeds.
    """

    p: Predictions
    audited: AuditedArrays
    cut: TreeCut
    nodes: NodeStatistics
    clusters: Int[np.ndarray, " r"]
    centers: Float[np.ndarray, "k d"]
    smallest: float

    def statistics(self, failing: Int[np.ndarray, " f"], weights: Weights) -> list[SliceStatistics]:
        """Return the statistics of every failing cluster.

        Args:
            failing: (f,) the clusters.
            weights: (f, n) their memberships.
        """
        audited = np.zeros(len(self.p), dtype=bool)
        audited[self.audited.rows] = True
        described = describe(weights, record_for_category(self.p, self.audited.category), audited)
        well, means = self._well_performing()
        return [
            replace(
                entry,
                cluster=ClusterStatistics(
                    cluster=cluster,
                    node=self.cut.node(cluster),
                    accuracy=float(self.nodes.accuracy[cluster]),
                    wrong=float(self.nodes.wrong[cluster]),
                    **measures(self.nodes, cluster),
                    top_attributes=top_attributes(self.nodes, cluster),
                    nearest=self._nearest(cluster, well, means),
                    co_predicted=self._co_predicted(cluster),
                ),
            )
            for cluster, entry in zip(failing.tolist(), described, strict=True)
        ]

    def _well_performing(self) -> tuple[Int[np.ndarray, " w"], Float[np.ndarray, "w d"]]:
        """Return the leaves that are 100 % correct, or else all that are no worse than average, and their means."""
        nodes, k = self.nodes, len(self.cut)
        leaves = np.flatnonzero(pruned_nodes(self.cut, nodes)[1] & (nodes.size > self.smallest))
        well = leaves[nodes.all_correct[leaves]]
        if len(well) == 0:
            well = leaves[nodes.accuracy[leaves] >= nodes.accuracy[-1]]
        sums = nodes.spans.sums(self.centers * nodes.size[:k, None])
        return well, sums[well] / nodes.size[well, None]

    def _nearest(
        self, cluster: int, well: Int[np.ndarray, " w"], means: Float[np.ndarray, "w d"]
    ) -> tuple[NearestCluster, ...]:
        """Return the nearest well-performing cluster by embedding, and by attributes if there are any."""
        nodes = self.nodes
        others = well != cluster
        if not others.any():
            return ()
        by: dict[Literal["embedding", "attributes"], Float[np.ndarray, " w"]] = {
            "embedding": np.linalg.norm(means - self.centers[cluster], axis=1)
        }
        if nodes.values:
            by["attributes"] = np.linalg.norm(nodes.shares[well] - nodes.shares[cluster], axis=1)
        neighbours = []
        for measure, distances in by.items():
            i = int(np.argmin(np.where(others, distances, np.inf)))
            position = int(well[i])
            neighbours.append(
                NearestCluster(
                    measure,
                    node=self.cut.node(position),
                    size=float(nodes.size[position]),
                    accuracy=float(nodes.accuracy[position]),
                    distance=float(distances[i]),
                    members=self._closest(position, cluster),
                )
            )
        return tuple(neighbours)

    def _closest(self, position: int, cluster: int) -> tuple[int, ...]:
        """Return the members of a node that lie closest to a cluster's centre."""
        spans = self.nodes.spans
        inside = np.zeros(len(self.cut), dtype=bool)
        inside[spans.order[spans.start[position] : spans.stop[position]]] = True
        rows = self.audited.rows[inside[self.clusters]]
        squares = np.empty(len(rows))
        for start in range(0, len(rows), _ROWS):
            block = self.p.embeddings[rows[start : start + _ROWS]] - self.centers[cluster]
            squares[start : start + _ROWS] = np.einsum("nd,nd->n", block, block)
        return tuple(rows[np.argsort(squares, kind="stable")[:_MOST_NEIGHBOURS]].tolist())

    def _co_predicted(self, cluster: int) -> tuple[AttributeShare, ...]:
        """Return the categories, other than the audited one, that are predicted most often in a cluster."""
        if self.nodes.predicted is None:
            return ()
        inside, overall = self.nodes.predicted[cluster].copy(), self.nodes.predicted[-1]
        if self.audited.category is not None:
            inside[self.audited.category] = 0
        first = np.argsort(-inside, kind="stable")[:_MOST_CATEGORIES]
        return tuple(
            AttributeShare(self.audited.classes[c], float(inside[c]), float(overall[c]))
            for c in first
            if inside[c] > 0
        )
