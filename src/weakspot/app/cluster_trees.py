"""Cluster trees of runs and of the published tool's files: which clusters fail, the outline, the members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from weakspot.app.run_files import check_files_inside
from weakspot.app.run_index import RunSummary
from weakspot.interop.udis_tree import PublishedTree, leaves_of, to_tree
from weakspot.pipeline.saved_runs import SavedRun
from weakspot.slices import ClusterNode
from weakspot.slices.failing_rule import ACCURACY_THRESHOLD, fails, worst_first

_MAX_FOLD_DEPTH = 60  # levels that fold; browsers cannot draw more than a few hundred


@dataclass(frozen=True)
class OutlineEntry:
    """A node in the outline.

    Attributes:
        node: The node.
        depth: How many ancestors it has.
        folds: Whether the nodes below it are drawn within it, so that it can be folded.
        closes: How many folding nodes end after it.
        is_open: Whether it is unfolded at first, because a failing cluster lies below it.
    """

    node: ClusterNode
    depth: int
    folds: bool
    closes: int
    is_open: bool


@dataclass(frozen=True, eq=False)
class ClusterTree:
    """A cluster tree.

    Attributes:
        root: The root node, with all nodes below it.
        ids: The ids of the examples, indexed by the rows in its leaves.
    """

    root: ClusterNode
    ids: Sequence[str]

    def failing_clusters(
        self, share: float = ACCURACY_THRESHOLD, accuracy: float | None = None
    ) -> list[ClusterNode]:
        """Return the failing clusters, worst first: they have more than five examples, and an accuracy below the
        threshold.

        Args:
            share: The threshold, as a share of the accuracy of all examples.
            accuracy: The accuracy of all examples; the tree's own unless given.
        """
        overall = self.root.accuracy if accuracy is None else accuracy
        return worst_first(leaf for leaf in self.leaves if fails(leaf.size, leaf.accuracy, overall, share))

    def node(self, number: int) -> ClusterNode | None:
        """Return the node with a number; None if there is none."""
        return next((node for node in self.root.walk() if node.id == number), None)

    def leaf_of(self, row: int) -> ClusterNode | None:
        """Return the leaf that holds an example; None if the example was not clustered."""
        return next((leaf for leaf in self.leaves if row in leaf.members), None)

    def members(self, node: ClusterNode) -> list[tuple[int, bool]]:
        """Return the row of every example of a node, and whether the model is wrong on it; the wrong ones come
        first.
        """
        members = []
        for leaf in node.leaves():
            wrong = set(leaf.wrong_members)
            members += [(row, row in wrong) for row in leaf.members]
        return sorted(members, key=lambda member: not member[1])

    def outline(self, failing: Sequence[ClusterNode], limit: int) -> list[OutlineEntry]:
        """Return the first nodes, parents before their children, as they are drawn.

        Args:
            failing: The failing clusters, which are visible at first.
            limit: The most nodes to return.
        """
        depths = {self.root.id: 0}
        parents: dict[int, int] = {}
        nodes = list(self.root.walk())
        for node in nodes:
            depths |= {child.id: depths[node.id] + 1 for child in node.children}
            parents |= {child.id: node.id for child in node.children}
        open_nodes = {self.root.id}
        for cluster in failing:
            ancestor = parents.get(cluster.id)
            while ancestor is not None and ancestor not in open_nodes:
                open_nodes.add(ancestor)
                ancestor = parents.get(ancestor)
        shown, entries = nodes[:limit], []
        for position, node in enumerate(shown):
            depth, folds = depths[node.id], bool(node.children) and depths[node.id] < _MAX_FOLD_DEPTH
            following = depths[shown[position + 1].id] if position + 1 < len(shown) else 0
            closes = min(depth + folds, _MAX_FOLD_DEPTH) - min(following, _MAX_FOLD_DEPTH)
            entries.append(OutlineEntry(node, depth, folds, closes, node.id in open_nodes))
        return entries

    @cached_property
    def leaves(self) -> Sequence[ClusterNode]:
        """The leaves of the tree."""
        return tuple(self.root.leaves())


def tree_of_published_file(published: PublishedTree) -> ClusterTree:
    """Return the tree in a file of the published tool.

    Raises:
        ValueError: If two images have the same name, one as text and one as a number.
    """
    ids = [str(image) for leaf in leaves_of(published) for image in leaf["images"]]
    if len(set(ids)) < len(ids):
        raise ValueError("the tree has two images of the same name, one as text and one as a number")
    return ClusterTree(to_tree(published, ids), ids)


def tree_of_run(run: RunSummary) -> ClusterTree:
    """Return the tree of a run.

    Raises:
        ValueError: If it has none, its findings belong to other slices, or a link leads out of its folder.
    """
    check_files_inside(run.folder)
    slices = SavedRun.open(run.folder).slices
    if slices.tree is None:
        raise ValueError(f"{run.folder} has no cluster tree: method=udis makes one")
    return ClusterTree(slices.tree, slices.ids.tolist())
