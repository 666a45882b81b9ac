"""The tree of clusters from which a method cut its slices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Int

from weakspot.slices.statistics import AttributeShare, renumber_rows


@dataclass(frozen=True, eq=False)
class ClusterNode:
    """A node of a cluster tree, with the nodes below it; statistics are None if the record lacks their arrays.

    A tree may be as deep as it has clusters, beyond Python's recursion limit. So trees are compared in their file
    format (`Slices.equals`), and `walk` visits the nodes without recursion.

    Attributes:
        id: The node's number in the linkage.
        size: The number of its examples, weighted by their counts.
        wrong: How many of them the model gets wrong.
        accuracy, loss, confidence, wrong_confidence, f1, f1_macro, f1_category: As in
            `weakspot.slices.statistics.ClusterStatistics`.
        top_attributes: The values most over-represented relative to all audited examples.
        failing: Whether the node is a cluster that is one of the slices.
        children: The nodes below it; none at a leaf.
        clusters: At a leaf, its numbers in the cut.
        members: At a leaf, rows of the record.
        wrong_members: At a leaf, the rows that are wrong.
    """

    id: int
    size: float
    wrong: float
    accuracy: float
    loss: float | None = None
    confidence: float | None = None
    wrong_confidence: float | None = None
    f1: float | None = None
    f1_macro: float | None = None
    f1_category: float | None = None
    top_attributes: tuple[AttributeShare, ...] = ()
    failing: bool = False
    children: tuple[ClusterNode, ...] = field(default=(), repr=False)
    clusters: tuple[int, ...] = ()
    members: tuple[int, ...] = field(default=(), repr=False)
    wrong_members: tuple[int, ...] = field(default=(), repr=False)

    @property
    def leaf(self) -> bool:
        """Whether no node is below this one."""
        return not self.children

    def walk(self) -> Iterator[ClusterNode]:
        """Yield this node and all below it, parents before their children, from left to right."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(node.children))

    def leaves(self) -> Iterator[ClusterNode]:
        """Return the leaves from left to right."""
        return (node for node in self.walk() if node.leaf)

    def renumber_rows(self, rows: Int[np.ndarray, " m"]) -> ClusterNode:
        """Return the same tree for a record where row i of this one has the position rows[i], or none (-1)."""
        return _build_tree(
            [
                replace(
                    node,
                    children=(),
                    members=renumber_rows(node.members, rows),
                    wrong_members=renumber_rows(node.wrong_members, rows),
                )
                for node in self.walk()
            ],
            [len(node.children) for node in self.walk()],
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Support `pickle` and `copy` through a list of nodes, because both would recurse."""
        fields = [{**vars(node), "children": ()} for node in self.walk()]
        return _restored, (fields, [len(node.children) for node in self.walk()])


def _restored(fields: Sequence[Mapping[str, Any]], widths: Sequence[int]) -> ClusterNode:
    return _build_tree([ClusterNode(**values) for values in fields], widths)


def _build_tree(nodes: Sequence[ClusterNode], widths: Sequence[int]) -> ClusterNode:
    """Build the tree from its nodes in the order of `walk` and their numbers of children."""
    subtrees: list[ClusterNode] = []  # waiting for their parents, the leftmost last
    for node, width in zip(reversed(nodes), reversed(widths), strict=True):
        subtrees.append(replace(node, children=tuple(subtrees.pop() for _ in range(width))))
    return subtrees[0]
