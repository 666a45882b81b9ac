"""The cluster tree as plain nested values: what the report draws and the published tool's files hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from weakspot.methods.udis.audit import Audit
from weakspot.methods.udis.cut import Cut
from weakspot.methods.udis.nodes import Nodes

Node = dict[str, Any]

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
) -> Node:
    """The tree's root; every node is a dictionary.

    Every node has `id` (the linkage's number), `size`, `wrong` (how many), `accuracy`, `loss`, `confidence`,
    `wrong_confidence`, `f1` (multilabel also `f1_macro`, a category `f1_category`; None where unknown),
    `top_attributes` (values most over-represented against all audited examples: name, share, overall) and
    `failing`. An inner node has `children`; a leaf has `clusters` (numbers of the cut), `members` and
    `wrong_members` (rows of the record). A node that is 100 % correct is a leaf, whatever lies below it.
    """
    k, (shown, leaves) = len(cut), shape_of(cut, nodes)
    by_cluster = np.split(
        np.argsort(clusters, kind="stable"), np.cumsum(np.bincount(clusters, minlength=k))[:-1]
    )
    made: dict[int, Node] = {}
    for place in np.flatnonzero(shown).tolist():
        node = _describe(place, cut, nodes, bool(place < k and failing[place]))
        if leaves[place]:
            inside = nodes.spans.order[nodes.spans.start[place] : nodes.spans.stop[place]]
            members = np.sort(np.concatenate([by_cluster[c] for c in inside]))
            node["clusters"] = sorted(inside.tolist())
            node["members"] = audit.rows[members].tolist()
            node["wrong_members"] = audit.rows[members[~audit.correct[members]]].tolist()
        else:
            node["children"] = [made.pop(child) for child in cut.tree[place - k].tolist()]
        made[place] = node
    return made[2 * k - 2]


def leaf_nodes(tree: Node) -> list[Node]:
    """The leaves from left to right."""
    found, waiting = [], [tree]
    while waiting:
        node = waiting.pop()
        if "children" in node:
            waiting.extend(reversed(node["children"]))
        else:
            found.append(node)
    return found


def _describe(place: int, cut: Cut, nodes: Nodes, failing: bool) -> Node:
    node: Node = {
        "id": cut.node(place),
        "size": _whole(nodes.size[place]),
        "wrong": _whole(nodes.wrong[place]),
        "accuracy": float(nodes.accuracy[place]),
    }
    for name in MEASURES:
        values = getattr(nodes, name)
        if values is not None:
            node[name] = None if np.isnan(values[place]) else float(values[place])
        elif name in ("loss", "confidence", "wrong_confidence", "f1"):
            node[name] = None
    return node | {"top_attributes": top_attributes(nodes, place), "failing": failing}


def top_attributes(nodes: Nodes, place: int) -> list[dict[str, Any]]:
    """The attribute values whose share in a node exceeds their share in all by most."""
    share, overall = nodes.shares[place], nodes.shares[-1]
    excess = share - overall
    first = np.argsort(-excess, kind="stable")[:_TOP_ATTRIBUTES]
    return [
        {"name": nodes.values[a], "share": float(share[a]), "overall": float(overall[a])}
        for a in first
        if excess[a] > 1e-12
    ]


def _whole(value: float) -> int | float:
    return int(value) if value == int(value) else float(value)
