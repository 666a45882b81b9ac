"""The cluster tree as a list of nodes, and the well-served clusters that lie nearest to failing ones."""

from __future__ import annotations

from collections.abc import Sequence

from weakspot.findings.audited_examples import AuditedExamples
from weakspot.findings.entries import Cluster, Neighbour
from weakspot.findings.group_descriptions import SHOWN
from weakspot.slices.statistics import ClusterStatistics, NearestCluster, SliceStatistics
from weakspot.slices.tree import ClusterNode

_EXAMPLES = 480  # in all leaves together
_EXAMPLES_EACH = 8


def list_clusters(root: ClusterNode, statistics: Sequence[SliceStatistics]) -> tuple[Cluster, ...]:
    """List every node of a tree, parents first.

    Args:
        root: The tree.
        statistics: The statistics of the slices, which are its failing clusters.

    Returns:
        The nodes; a leaf has some of its members, starting with those that the model gets wrong.
    """
    numbers = {one.cluster.node: j + 1 for j, one in enumerate(statistics) if one.cluster is not None}
    each = min(_EXAMPLES_EACH, _EXAMPLES // max(1, sum(1 for _ in root.leaves())))
    nodes: list[Cluster] = []
    pending: list[tuple[ClusterNode, int | None, int]] = [(root, None, 0)]
    while pending:
        node, parent, depth = pending.pop()
        wrong = set(node.wrong_members)
        members = [*node.wrong_members, *(row for row in node.members if row not in wrong)]
        nodes.append(
            Cluster(
                id=node.id,
                parent=parent,
                depth=depth,
                size=node.size,
                wrong=node.wrong,
                accuracy=node.accuracy,
                loss=node.loss,
                confidence=node.confidence,
                f1=node.f1 if node.f1_category is None else node.f1_category,
                top_attributes=node.top_attributes,
                failing=node.failing,
                slice=numbers.get(node.id),
                leaf=node.leaf,
                clusters=len(node.clusters),
                rows=tuple(members[:each]),
            )
        )
        pending.extend((child, len(nodes) - 1, depth + 1) for child in reversed(node.children))
    return tuple(nodes)


def well_served_neighbours(
    cluster: ClusterStatistics | None, audited: AuditedExamples
) -> tuple[Neighbour, ...]:
    """Return the well-served clusters nearest to a failing one; one that is nearest in both senses is listed once.

    Members that the model gets right come first, because a failing cluster is compared with these.

    Args:
        cluster: The statistics of the failing cluster; None for a slice that is not a cluster.
        audited: The audited examples.

    Returns:
        At most two neighbours.
    """
    if cluster is None:
        return ()
    by_node: dict[int, list[NearestCluster]] = {}
    for near in cluster.nearest:
        by_node.setdefault(near.node, []).append(near)
    right = audited.record.correct
    found = []
    for nearest in by_node.values():
        rows = list(nearest[0].members)
        if right is not None:
            known = dict(zip(rows, right[audited.positions(rows)], strict=True))
            rows.sort(key=lambda row: not known[row])
        found.append(
            Neighbour(
                senses=tuple(near.sense for near in nearest),
                size=nearest[0].size,
                accuracy=nearest[0].accuracy,
                rows=tuple(rows[: SHOWN // len(by_node)]),
            )
        )
    return tuple(found)
