"""Cluster trees, of runs and of the published tool's files: which clusters fail, the outline, the members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from weakspot.app.runs import Run, check_own
from weakspot.interop.udis_tree import PublishedTree, leaves_of, to_tree
from weakspot.pipeline.runs import SLICES
from weakspot.slices import ClusterNode, Slices
from weakspot.slices.failing import ACCURACY_THRESHOLD, fails, worst_first

_DEEPEST = 60  # levels that fold; a browser draws no more than some hundreds


@dataclass(frozen=True)
class Branch:
    """A node in the outline.

    Attributes:
        node: It.
        depth: How many nodes stand above it.
        folds: Whether what lies below it is drawn within it.
        closes: How many that fold end after it.
        opened: Whether it is unfolded at first: a failing cluster lies below.
    """

    node: ClusterNode
    depth: int
    folds: bool
    closes: int
    opened: bool


@dataclass(frozen=True, eq=False)
class Tree:
    """A cluster tree.

    Attributes:
        root: With all that lies below it.
        ids: Of the examples, by the rows that its leaves name.
    """

    root: ClusterNode
    ids: Sequence[str]

    def below(self, share: float = ACCURACY_THRESHOLD, accuracy: float | None = None) -> list[ClusterNode]:
        """The failing clusters, worst first: of more than five examples, and less accurate than a share of the whole.

        Args:
            share: Of the accuracy of all.
            accuracy: Of all; the tree's own unless given.
        """
        overall = self.root.accuracy if accuracy is None else accuracy
        return worst_first(leaf for leaf in self.leaves if fails(leaf.size, leaf.accuracy, overall, share))

    def node(self, number: int) -> ClusterNode | None:
        """The node of this number."""
        return next((node for node in self.root.walk() if node.id == number), None)

    def leaf_of(self, row: int) -> ClusterNode | None:
        """The leaf that an example lies in; none where it was not clustered."""
        return next((leaf for leaf in self.leaves if row in leaf.members), None)

    def members(self, node: ClusterNode) -> list[tuple[int, bool]]:
        """Row of every example of a node, and whether the model is wrong on it; the wrong ones first."""
        members = []
        for leaf in node.leaves():
            wrong = set(leaf.wrong_members)
            members += [(row, row in wrong) for row in leaf.members]
        return sorted(members, key=lambda member: not member[1])

    def outline(self, failing: Sequence[ClusterNode], most: int) -> list[Branch]:
        """The first nodes, parents before their children, as they are drawn."""
        depths = {self.root.id: 0}
        above: dict[int, int] = {}
        nodes = list(self.root.walk())
        for node in nodes:
            depths |= {child.id: depths[node.id] + 1 for child in node.children}
            above |= {child.id: node.id for child in node.children}
        opened = {self.root.id}
        for one in failing:
            at = above.get(one.id)
            while at is not None and at not in opened:
                opened.add(at)
                at = above.get(at)
        shown, branches = nodes[:most], []
        for place, node in enumerate(shown):
            depth, folds = depths[node.id], bool(node.children) and depths[node.id] < _DEEPEST
            following = depths[shown[place + 1].id] if place + 1 < len(shown) else 0
            closes = min(depth + folds, _DEEPEST) - min(following, _DEEPEST)
            branches.append(Branch(node, depth, folds, closes, node.id in opened))
        return branches

    @cached_property
    def leaves(self) -> Sequence[ClusterNode]:
        return tuple(self.root.leaves())


def published_tree(published: PublishedTree) -> Tree:
    """The tree of a published file.

    Raises:
        ValueError: If two images have the same name, one as text and one as a number.
    """
    ids = [str(image) for leaf in leaves_of(published) for image in leaf["images"]]
    if len(set(ids)) < len(ids):
        raise ValueError("the tree has two images of the same name, one as text and one as a number")
    return Tree(to_tree(published, ids), ids)


def tree_of(run: Run) -> Tree:
    """The tree of a run.

    Raises:
        ValueError: Where it has none, or a link leads out of its folder.
    """
    check_own(run.folder)
    slices = Slices.load(run.folder / SLICES)
    if slices.tree is None:
        raise ValueError(f"{run.folder} has no cluster tree: method=udis makes one")
    return Tree(slices.tree, slices.ids.tolist())
