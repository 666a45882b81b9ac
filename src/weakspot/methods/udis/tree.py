"""The cluster tree above a cut, as the report draws it and the published tool's files hold it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int

from weakspot.methods.udis.audit import Audit
from weakspot.methods.udis.cut import Cut
from weakspot.methods.udis.nodes import Nodes
from weakspot.slices import ClusterNode
from weakspot.slices.statistics import AttributeShare

_TOP_ATTRIBUTES = 5
MEASURES = ("loss", "confidence", "wrong_confidence", "f1", "f1_macro", "f1_category")


def shape_of(cut: Cut, nodes: Nodes) -> tuple[Bool[np.ndarray, " p"], Bool[np.ndarray, " p"]]:
    """Which places are nodes of the pruned tree, and which of these are leaves.

    A leaf is a cluster of the cut, or the highest node above it that is 100 % correct.
    """
    k = len(cut)
    shown, leaf = np.zeros(2 * k - 1, dtype=bool), nodes.faultless.copy()
    leaf[:k] = True
    shown[-1] = True
    for i in range(k - 2, -1, -1):
        shown[cut.tree[i]] = shown[k + i] and not leaf[k + i]
    return shown, shown & leaf


def build(
    cut: Cut,
    nodes: Nodes,
    clusters: Int[np.ndarray, " r"],
    audit: Audit,
    failing: Bool[np.ndarray, " k"],
) -> ClusterNode:
    """The tree's root. A node that is 100 % correct is a leaf, whatever lies below it."""
    k, (shown, leaves) = len(cut), shape_of(cut, nodes)
    by_cluster = np.split(
        np.argsort(clusters, kind="stable"), np.cumsum(np.bincount(clusters, minlength=k))[:-1]
    )
    made: dict[int, ClusterNode] = {}
    for place in np.flatnonzero(shown).tolist():
        inside: list[int] = []
        members = np.empty(0, dtype=np.int64)
        children: tuple[ClusterNode, ...] = ()
        if leaves[place]:
            inside = sorted(nodes.spans.order[nodes.spans.start[place] : nodes.spans.stop[place]].tolist())
            members = np.sort(np.concatenate([by_cluster[c] for c in inside]))
        else:
            children = tuple(made.pop(child) for child in cut.tree[place - k].tolist())
        made[place] = ClusterNode(
            id=cut.node(place),
            size=float(nodes.size[place]),
            wrong=float(nodes.wrong[place]),
            accuracy=float(nodes.accuracy[place]),
            **measures(nodes, place),
            top_attributes=top_attributes(nodes, place),
            failing=bool(place < k and failing[place]),
            children=children,
            clusters=tuple(inside),
            members=tuple(audit.rows[members].tolist()),
            wrong_members=tuple(audit.rows[members[~audit.correct[members]]].tolist()),
        )
    return made[2 * k - 2]


def measures(nodes: Nodes, place: int) -> dict[str, float | None]:
    """What a node's examples come to, by the names of `MEASURES`; None where the record does not tell."""
    values = {name: getattr(nodes, name) for name in MEASURES}
    return {
        name: None if all_ is None or np.isnan(all_[place]) else float(all_[place])
        for name, all_ in values.items()
    }


def top_attributes(nodes: Nodes, place: int) -> tuple[AttributeShare, ...]:
    """The attribute values whose share in a node exceeds their share in all by most."""
    share, overall = nodes.shares[place], nodes.shares[-1]
    excess = share - overall
    first = np.argsort(-excess, kind="stable")[:_TOP_ATTRIBUTES]
    return tuple(
        AttributeShare(nodes.values[a], float(share[a]), float(overall[a]))
        for a in first
        if excess[a] > 1e-12
    )
