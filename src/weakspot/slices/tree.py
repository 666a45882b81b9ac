"""The tree of clusters that a method cut its slices from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Int

from weakspot.slices.statistics import AttributeShare, moved


@dataclass(frozen=True, eq=False)
class ClusterNode:
    """A node of a cluster tree with all that lies below it; None where the record does not tell.

    A tree may be as deep as it has clusters, beyond Python's limit to recursion: so two trees are compared
    by their files' form (`Slices.equals`), and `walk` visits the nodes.

    id                the linkage's number
    size, wrong       examples, and how many of them are wrong, each counted as often as its count says
    wrong_confidence, f1, f1_macro, f1_category   as in `weakspot.slices.statistics.ClusterStatistics`
    top_attributes    the values most over-represented against all audited examples
    failing           whether this is a cluster that is one of the slices
    children          none at a leaf
    clusters          of a leaf: numbers of the cut
    members, wrong_members   of a leaf: rows of the record
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
        """Whether no node lies below this one."""
        return not self.children

    def walk(self) -> Iterator[ClusterNode]:
        """This node and all below it, parents before their children, from left to right."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))

    def leaves(self) -> Iterator[ClusterNode]:
        """The leaves from left to right."""
        return (node for node in self.walk() if node.leaf)

    def moved(self, rows: Int[np.ndarray, " m"]) -> ClusterNode:
        """The same tree in a record where row i of this one stands at rows[i], or nowhere (-1)."""
        return _joined(
            [
                replace(
                    node,
                    children=(),
                    members=moved(node.members, rows),
                    wrong_members=moved(node.wrong_members, rows),
                )
                for node in self.walk()
            ],
            [len(node.children) for node in self.walk()],
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """For `pickle` and `copy`, which know no depth either."""
        fields = [{**vars(node), "children": ()} for node in self.walk()]
        return _restored, (fields, [len(node.children) for node in self.walk()])


def _restored(fields: Sequence[Mapping[str, Any]], widths: Sequence[int]) -> ClusterNode:
    return _joined([ClusterNode(**values) for values in fields], widths)


def _joined(nodes: Sequence[ClusterNode], widths: Sequence[int]) -> ClusterNode:
    """The tree of nodes in the order of `walk`, each with so many children."""
    made: list[ClusterNode] = []  # whose parents are still to come, the leftmost last
    for node, width in zip(reversed(nodes), reversed(widths), strict=True):
        made.append(replace(node, children=tuple(made.pop() for _ in range(width))))
    return made[0]
