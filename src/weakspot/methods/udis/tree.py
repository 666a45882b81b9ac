"""The cluster tree above a cut, as drawn in reports and saved in the published tool's files."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int

from weakspot.methods.udis.audited_arrays import AuditedArrays
from weakspot.methods.udis.cut import TreeCut
from weakspot.methods.udis.node_statistics import NodeStatistics
from weakspot.slices import ClusterNode
from weakspot.slices.statistics import AttributeShare

_TOP_ATTRIBUTES = 5
MEASURES = ("loss", "confidence", "wrong_confidence", "f1", "f1_macro", "f1_category")


def pruned_nodes(
    cut: TreeCut, nodes: NodeStatistics
) -> tuple[Bool[np.ndarray, " p"], Bool[np.ndarray, " p"]]:
    """Return which positions (p,) are nodes of the pruned tree, and which of these are leaves.

    A leaf is a cluster of the cut, or the highest node above it that is 100 % correct.
    """
    k = len(cut)
    present, leaf = np.zeros(2 * k - 1, dtype=bool), nodes.all_correct.copy()
    leaf[:k] = True
    present[-1] = True
    for i in range(k - 2, -1, -1):
        present[cut.tree[i]] = present[k + i] and not leaf[k + i]
    return present, present & leaf


def build_tree(
    cut: TreeCut,
    nodes: NodeStatistics,
    clusters: Int[np.ndarray, " r"],
    audited: AuditedArrays,
    failing: Bool[np.ndarray, " k"],
) -> ClusterNode:
    """Return the tree's root. A node that is 100 % correct is a leaf, whatever lies below it."""
    k, (present, leaves) = len(cut), pruned_nodes(cut, nodes)
    by_cluster = np.split(
        np.argsort(clusters, kind="stable"), np.cumsum(np.bincount(clusters, minlength=k))[:-1]
    )
    built: dict[int, ClusterNode] = {}
    for position in np.flatnonzero(present).tolist():
        inside: list[int] = []
        members = np.empty(0, dtype=np.int64)
        children: tuple[ClusterNode, ...] = ()
        if leaves[position]:
            inside = sorted(
                nodes.spans.order[nodes.spans.start[position] : nodes.spans.stop[position]].tolist()
            )
            members = np.sort(np.concatenate([by_cluster[c] for c in inside]))
        else:
            children = tuple(built.pop(child) for child in cut.tree[position - k].tolist())
        built[position] = ClusterNode(
            id=cut.node(position),
            size=float(nodes.size[position]),
            wrong=float(nodes.wrong[position]),
            accuracy=float(nodes.accuracy[position]),
            **measures(nodes, position),
            top_attributes=top_attributes(nodes, position),
            failing=bool(position < k and failing[position]),
            children=children,
            clusters=tuple(inside),
            members=tuple(audited.rows[members].tolist()),
            wrong_members=tuple(audited.rows[members[~audited.correct[members]]].tolist()),
        )
    return built[2 * k - 2]


def measures(nodes: NodeStatistics, position: int) -> dict[str, float | None]:
    """Return a node's measures, by the names of `MEASURES`; None if the record lacks it."""
    values = {name: getattr(nodes, name) for name in MEASURES}
    return {
        name: None if all_ is None or np.isnan(all_[position]) else float(all_[position])
        for name, all_ in values.items()
    }


def top_attributes(nodes: NodeStatistics, position: int) -> tuple[AttributeShare, ...]:
    """Return the attribute values whose share in a node exceeds their overall share by the most."""
    share, overall = nodes.shares[position], nodes.shares[-1]
    excess = share - overall
    first = np.argsort(-excess, kind="stable")[:_TOP_ATTRIBUTES]
    return tuple(
        AttributeShare(nodes.values[a], float(share[a]), float(overall[a]))
        for a in first
        if excess[a] > 1e-12
    )
