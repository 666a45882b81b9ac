"""The clusters that fail, what there is to say of each, and the well-served cluster nearest to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from weakspot.methods.udis.audit import Audit, judged
from weakspot.methods.udis.cut import Cut
from weakspot.methods.udis.nodes import Nodes
from weakspot.methods.udis.tree import measures, shape_of, top_attributes
from weakspot.predictions import Predictions
from weakspot.slices import Weights
from weakspot.slices.statistics import AttributeShare, ClusterStatistics, Nearest, SliceStatistics, describe

_NEIGHBOURS_SHOWN = 64
_CATEGORIES_SHOWN = 10
_ROWS = 8192


def failing_clusters(
    nodes: Nodes, k: int, metric: str, threshold: float, smallest: float
) -> tuple[Bool[np.ndarray, " k"], Int[np.ndarray, " f"]]:
    """Clusters of more than `smallest` whose score is below `threshold` of the overall one, worst first.

    Also as a mask by cluster. Of equal accuracies the higher loss comes first.
    """
    f1 = nodes.f1 if nodes.f1_category is None else nodes.f1_category
    score = nodes.accuracy if metric == "accuracy" or f1 is None else f1
    failing = (nodes.size[:k] > smallest) & (score[:k] < threshold * score[-1])
    loss = np.zeros(k) if nodes.loss is None else nodes.loss[:k]
    worst = np.lexsort((-loss, nodes.accuracy[:k], ~failing))
    return failing, worst[: failing.sum()]


@dataclass(frozen=True, eq=False)
class Finder:
    """Describes failing clusters; holds what all of them share."""

    p: Predictions
    audit: Audit
    cut: Cut
    nodes: Nodes
    clusters: Int[np.ndarray, " r"]
    centers: Float[np.ndarray, "k d"]
    smallest: float

    def statistics(self, found: Int[np.ndarray, " f"], weights: Weights) -> list[SliceStatistics]:
        """Of every failing cluster, all that its typed statistics have room for."""
        audited = np.zeros(len(self.p), dtype=bool)
        audited[self.audit.rows] = True
        described = describe(weights, judged(self.p, self.audit.category), audited)
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
            for cluster, entry in zip(found.tolist(), described, strict=True)
        ]

    def _well_performing(self) -> tuple[Int[np.ndarray, " w"], Float[np.ndarray, "w d"]]:
        """Leaves that are 100 % correct, or failing these all that do no worse than average; their means."""
        nodes, k = self.nodes, len(self.cut)
        leaves = np.flatnonzero(shape_of(self.cut, nodes)[1] & (nodes.size > self.smallest))
        well = leaves[nodes.faultless[leaves]]
        if len(well) == 0:
            well = leaves[nodes.accuracy[leaves] >= nodes.accuracy[-1]]
        sums = nodes.spans.sums(self.centers * nodes.size[:k, None])
        return well, sums[well] / nodes.size[well, None]

    def _nearest(
        self, cluster: int, well: Int[np.ndarray, " w"], means: Float[np.ndarray, "w d"]
    ) -> tuple[Nearest, ...]:
        nodes = self.nodes
        others = well != cluster
        if not others.any():
            return ()
        by: dict[Literal["embedding", "attributes"], Float[np.ndarray, " w"]] = {
            "embedding": np.linalg.norm(means - self.centers[cluster], axis=1)
        }
        if nodes.values:
            by["attributes"] = np.linalg.norm(nodes.shares[well] - nodes.shares[cluster], axis=1)
        found = []
        for sense, distances in by.items():
            i = int(np.argmin(np.where(others, distances, np.inf)))
            place = int(well[i])
            found.append(
                Nearest(
                    sense,
                    node=self.cut.node(place),
                    size=float(nodes.size[place]),
                    accuracy=float(nodes.accuracy[place]),
                    distance=float(distances[i]),
                    members=self._closest(place, cluster),
                )
            )
        return tuple(found)

    def _closest(self, place: int, cluster: int) -> tuple[int, ...]:
        """The members of a node that lie closest to a cluster's centre."""
        spans = self.nodes.spans
        inside = np.zeros(len(self.cut), dtype=bool)
        inside[spans.order[spans.start[place] : spans.stop[place]]] = True
        rows = self.audit.rows[inside[self.clusters]]
        away = np.empty(len(rows))
        for start in range(0, len(rows), _ROWS):
            block = self.p.embeddings[rows[start : start + _ROWS]] - self.centers[cluster]
            away[start : start + _ROWS] = np.einsum("nd,nd->n", block, block)
        return tuple(rows[np.argsort(away, kind="stable")[:_NEIGHBOURS_SHOWN]].tolist())

    def _co_predicted(self, cluster: int) -> tuple[AttributeShare, ...]:
        if self.nodes.predicted is None:
            return ()
        inside, overall = self.nodes.predicted[cluster].copy(), self.nodes.predicted[-1]
        if self.audit.category is not None:
            inside[self.audit.category] = 0
        first = np.argsort(-inside, kind="stable")[:_CATEGORIES_SHOWN]
        return tuple(
            AttributeShare(self.audit.classes[c], float(inside[c]), float(overall[c]))
            for c in first
            if inside[c] > 0
        )
