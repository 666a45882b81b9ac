"""The cluster tree: one picture of the whole, and an outline that folds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from weakspot.report.examples import Example, Exhibits
from weakspot.report.figures import Curve, cut_curve
from weakspot.report.view import SliceView
from weakspot.slices import ClusterNode

_HEIGHT = 240  # of the picture, in px, before the rows of labels
_TALLEST, _LOWEST = 18, 5  # of one level
_LABEL = 0.022  # width that a failing cluster's number takes, as a share of the picture
_LABEL_ROWS = 3
_PICTURES = 480  # in all leaves together; the failing ones have a section of their own besides
_PICTURES_EACH = 8
_TONES = 5


@dataclass(frozen=True)
class Cell:
    """A node in the picture: left edge and width as shares of it, top and height in px."""

    left: float
    width: float
    top: float
    height: float
    tone: str
    words: str
    slice: SliceView | None
    label_row: int = 0


@dataclass(frozen=True)
class Branch:
    """A node in the outline.

    width     its size as a share of the root's
    closes    how many levels end after it
    opened    whether it shows its children at first: a failing cluster lies below
    """

    node: ClusterNode
    tone: str
    width: float
    slice: SliceView | None
    leaf: bool
    opened: bool
    closes: int
    examples: Sequence[Example]


@dataclass(frozen=True)
class TreeView:
    """The tree as the page shows it; `tones` are the legend's, from none right to all right."""

    size: float
    accuracy: float
    clusters: int
    leaves: int
    cut: Curve | None
    height: float
    level: float
    cells: Sequence[Cell]
    branches: Sequence[Branch]
    tones: Sequence[str]


def tree_view(
    root: ClusterNode, cut_scores: Mapping[int | str, float], slices: Sequence[SliceView], exhibits: Exhibits
) -> TreeView:
    """From a tree and the silhouette of every cut."""
    failing = {view.statistics.cluster.node: view for view in slices if view.statistics.cluster}
    nodes = list(_walk(root))
    levels = 1 + max(depth for _, depth, _ in nodes)
    level = max(_LOWEST, min(_TALLEST, _HEIGHT / levels))
    overall = float(root.accuracy)
    leaves = sum(node.leaf for node, _, _ in nodes)
    return TreeView(
        size=root.size,
        accuracy=overall,
        clusters=sum(len(node.clusters) for node, _, _ in nodes if node.leaf),
        leaves=leaves,
        cut=cut_curve(cut_scores),
        height=levels * level,
        level=level,
        cells=_cells(nodes, levels, level, overall, failing),
        branches=_branches(nodes, overall, failing, exhibits, min(_PICTURES_EACH, _PICTURES // leaves)),
        tones=[f"low-{i}" for i in range(_TONES, 0, -1)]
        + ["even"]
        + [f"high-{i}" for i in range(1, _TONES + 1)],
    )


def tone(accuracy: float, overall: float) -> str:
    """The colour class of an accuracy: how far, in fifths, it lies from the overall one towards 0 or 1."""
    if accuracy < overall:
        return f"low-{max(1, math.ceil(_TONES * (overall - accuracy) / overall - 1e-9))}"
    if accuracy > overall:
        return f"high-{max(1, math.ceil(_TONES * (accuracy - overall) / (1 - overall) - 1e-9))}"
    return "even"


def _walk(root: ClusterNode) -> Iterator[tuple[ClusterNode, int, float]]:
    """Every node with its depth and how many examples stand left of it, parents first."""
    waiting: list[tuple[ClusterNode, int, float]] = [(root, 0, 0.0)]
    while waiting:
        node, depth, left = waiting.pop()
        yield node, depth, left
        below = []
        for child in node.children:
            below.append((child, depth + 1, left))
            left += child.size
        waiting.extend(reversed(below))


def _cells(
    nodes: Sequence[tuple[ClusterNode, int, float]],
    levels: int,
    level: float,
    overall: float,
    failing: Mapping[int, SliceView],
) -> list[Cell]:
    total = nodes[0][0].size
    taken = [-1.0] * _LABEL_ROWS  # how far right the labels of each row reach
    cells = []
    for node, depth, left in nodes:
        start, width, row = left / total, node.size / total, 0
        view = failing.get(node.id)
        if view is not None:
            middle = start + width / 2
            row = next((r for r in range(_LABEL_ROWS) if middle - _LABEL / 2 >= taken[r]), _LABEL_ROWS - 1)
            taken[row] = middle + _LABEL / 2
        height = (levels - depth) * level if node.leaf else level
        words = f"{node.size:g} examples, {node.wrong:g} wrong"
        cells.append(
            Cell(start, width, depth * level, height, tone(node.accuracy, overall), words, view, row)
        )
    return cells


def _branches(
    nodes: Sequence[tuple[ClusterNode, int, float]],
    overall: float,
    failing: Mapping[int, SliceView],
    exhibits: Exhibits,
    pictures: int,
) -> list[Branch]:
    total = nodes[0][0].size
    opened = _opened(nodes)
    branches = []
    for place, (node, depth, _) in enumerate(nodes):
        leaf = node.leaf
        following = nodes[place + 1][1] if place + 1 < len(nodes) else 0
        branches.append(
            Branch(
                node=node,
                tone=tone(node.accuracy, overall),
                width=node.size / total,
                slice=failing.get(node.id),
                leaf=leaf,
                opened=place in opened,
                closes=depth - following if leaf else 0,
                examples=exhibits.show(_samples(node, pictures)) if leaf else [],
            )
        )
    return branches


def _opened(nodes: Sequence[tuple[ClusterNode, int, float]]) -> set[int]:
    """Places of the root and of all that lies above a failing cluster."""
    opened = {0}
    path: list[int] = []
    for place, (node, depth, _) in enumerate(nodes):
        path[depth:] = [place]
        if node.failing:
            opened.update(path[:-1])
    return opened


def _samples(leaf: ClusterNode, most: int) -> list[int]:
    """Some members of a cluster, the wrong ones first."""
    wrong = set(leaf.wrong_members)
    right = (row for row in leaf.members if row not in wrong)
    return [*leaf.wrong_members, *right][:most]
