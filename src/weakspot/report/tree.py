"""The cluster tree: an icicle plot of all nodes, and an outline that can be folded."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from weakspot.findings import Findings, numbers
from weakspot.findings.entries import Cluster
from weakspot.report.curves import Curve, cut_curve
from weakspot.report.example_views import ExampleView, ExampleViews
from weakspot.report.finding_views import SliceView
from weakspot.report.folds import FoldedParts
from weakspot.slices.failing_rule import SMALLEST

_HEIGHT = 240  # pixels of the icicle plot, without the rows of labels
_TALLEST, _LOWEST = 18, 5  # pixels of one level
_LABEL = 0.046  # width that a failing cluster's number takes on a phone, as a share of the plot
_LABEL_ROWS = 6  # a number that does not fit into these rows is left out; the outline has it
_TONES = 5  # above the overall accuracy, and below it
_CELLS = 3000  # drawn at most: the widest ones, all of which are wider than a pixel


@dataclass(frozen=True)
class Cell:
    """A node in the icicle plot.

    Attributes:
        left, width: Its left edge and width, as shares of the plot.
        top, height: Its top and height in pixels.
        tone: The class of its colour.
        words: Its size and errors, in words.
        node: The id of the node.
        leaf: Whether it is a leaf.
        slice: The slice that it is, if it is a failing cluster.
        label_row: The row below the plot that has its number, if there is one.
    """

    left: float
    width: float
    top: float
    height: float
    tone: str
    words: str
    node: int
    leaf: bool
    slice: SliceView | None
    label_row: int | None = None


@dataclass(frozen=True)
class Branch:
    """A node in the outline.

    Attributes:
        cluster: The node.
        tone: The class of its colour.
        width: Its size as a share of the root's.
        slice: The slice that it is, if it is a failing cluster.
        opened: Whether its children are shown at first, because there is a failing cluster below.
        closes: How many levels end after it.
        examples: Some of its members.
    """

    cluster: Cluster
    tone: str
    width: float
    slice: SliceView | None
    opened: bool
    closes: int
    examples: Sequence[ExampleView]


@dataclass(frozen=True)
class TreeView:
    """Holds the tree as the page shows it.

    Attributes:
        size, accuracy: The size and accuracy of the root.
        clusters, leaves: How many clusters the cut makes, and how many leaves are drawn.
        cut: The curve of the silhouette.
        height: The height of the plot in pixels.
        cells: The nodes in the plot.
        label_rows: How many rows of numbers there are below the plot.
        accuracies: JSON of the accuracy of each cluster of more than five examples by its node; only such clusters can
            fail (UDIS, Algorithm 1).
        branches: The nodes in the outline.
        tones: The colours of the legend, from none right to all right.
    """

    size: float
    accuracy: float
    clusters: int
    leaves: int
    cut: Curve | None
    height: float
    cells: Sequence[Cell]
    label_rows: int
    accuracies: str
    branches: Sequence[Branch]
    tones: Sequence[str]


def tree_view(findings: Findings, slices: Sequence[SliceView], examples: ExampleViews) -> TreeView:
    """Lay out the tree of the findings' clusters."""
    clusters = findings.clusters
    root, levels = clusters[0], 1 + max(cluster.depth for cluster in clusters)
    level = max(_LOWEST, min(_TALLEST, _HEIGHT / levels))
    cells = _cells(clusters, levels, level, slices)
    return TreeView(
        size=root.size,
        accuracy=root.accuracy,
        clusters=sum(cluster.clusters for cluster in clusters if cluster.leaf),
        leaves=sum(cluster.leaf for cluster in clusters),
        cut=cut_curve(findings.cut_scores),
        height=levels * level,
        cells=cells,
        accuracies=json.dumps(
            {
                cluster.id: round(cluster.accuracy, 6)
                for cluster in clusters
                if cluster.leaf and cluster.size > SMALLEST
            }
        ),
        label_rows=1 + max((cell.label_row for cell in cells if cell.label_row is not None), default=0),
        branches=_branches(clusters, slices, examples),
        tones=[f"low-{i}" for i in range(_TONES, 0, -1)]
        + ["even"]
        + [f"high-{i}" for i in range(1, _TONES + 1)],
    )


def _slice_of(cluster: Cluster, slices: Sequence[SliceView]) -> SliceView | None:
    return None if cluster.slice is None else slices[cluster.slice - 1]


def tone(accuracy: float, overall: float) -> str:
    """Return the class of an accuracy's colour: how far, in fifths, it is from the overall one towards 0 or 1."""
    if accuracy < overall:
        return f"low-{max(1, math.ceil(_TONES * (overall - accuracy) / overall - 1e-9))}"
    if accuracy > overall:
        return f"high-{max(1, math.ceil(_TONES * (accuracy - overall) / (1 - overall) - 1e-9))}"
    return "even"


def _cells(clusters: Sequence[Cluster], levels: int, level: float, slices: Sequence[SliceView]) -> list[Cell]:
    total, overall = clusters[0].size, clusters[0].accuracy
    ends: list[float] = []  # how far right the children of every node reach so far
    taken = [-1.0] * _LABEL_ROWS  # how far right the labels of each row reach so far
    cells = []
    for cluster in clusters:
        left = 0.0 if cluster.parent is None else ends[cluster.parent]
        ends.append(left)
        if cluster.parent is not None:
            ends[cluster.parent] += cluster.size
        start, width, row = left / total, cluster.size / total, None
        view = _slice_of(cluster, slices)
        if view is not None:
            middle = start + width / 2
            row = next((r for r in range(_LABEL_ROWS) if middle - _LABEL / 2 >= taken[r]), None)
        if row is not None:
            taken[row] = middle + _LABEL / 2
        height = (levels - cluster.depth) * level if cluster.leaf else level
        words = f"{numbers.examples(cluster.size)}, {numbers.count(cluster.wrong)} wrong"
        top, colour = cluster.depth * level, tone(cluster.accuracy, overall)
        cells.append(Cell(start, width, top, height, colour, words, cluster.id, cluster.leaf, view, row))
    if len(cells) <= _CELLS:
        return cells
    least = sorted((cell.width for cell in cells), reverse=True)[_CELLS]
    return [cell for cell in cells if cell.width > least or cell.slice is not None]


def _branches(
    clusters: Sequence[Cluster], slices: Sequence[SliceView], examples: ExampleViews
) -> list[Branch]:
    total, overall = clusters[0].size, clusters[0].accuracy
    opened, shown = _opened(clusters), _rows_of_nodes(clusters)
    branches = []
    for place, cluster in enumerate(clusters):
        following = clusters[place + 1].depth if place + 1 < len(clusters) else 0
        branches.append(
            Branch(
                cluster=cluster,
                tone=tone(cluster.accuracy, overall),
                width=cluster.size / total,
                slice=_slice_of(cluster, slices),
                opened=place in opened,
                closes=cluster.depth - following if cluster.leaf else 0,
                examples=examples.show(shown[place]),
            )
        )
    return branches


def _rows_of_nodes(clusters: Sequence[Cluster]) -> list[list[int]]:
    """Return some members of every node; an inner node shows those of the cluster below it with the lowest accuracy."""
    found = [list(cluster.rows) for cluster in clusters]
    worst = [cluster.accuracy for cluster in clusters]
    for place in reversed(range(1, len(clusters))):
        parent = clusters[place].parent
        if parent is not None and found[place] and (not found[parent] or worst[place] <= worst[parent]):
            found[parent], worst[parent] = found[place], worst[place]
    return found


def outline(
    branches: Sequence[Branch],
    folded: FoldedParts,
    node: Callable[[Branch, Markup | None, int | None], str],
    about: Callable[[Branch], str],
) -> Markup:
    """Return the nested list of all nodes, built in a loop because a tree may be deeper than the recursion limit.

    Args:
        branches: The nodes, parents first.
        folded: Keeps what is below a node that is closed at first.
        node: Makes the markup of a branch from the branch, what is inside it (None for a leaf), and the number of the
            folded part that holds its content instead.
        about: Makes the markup that describes a branch when it is opened.

    Returns:
        The markup of the list.
    """
    levels: list[list[str]] = [[]]
    above: list[Branch] = []
    for branch in branches:
        if not branch.cluster.leaf:
            folded.open()
            above.append(branch)
            levels.append([])
            continue
        levels[-1].append(node(branch, None, None))
        for _ in range(branch.closes):
            owner = above.pop()
            inside = Markup(f"{about(owner)}<ul>{''.join(levels.pop())}</ul>")
            levels[-1].append(node(owner, inside, folded.close(inside)))
    return Markup("".join(levels[0]))


def _opened(clusters: Sequence[Cluster]) -> set[int]:
    """Return the positions of the root and of all nodes above failing clusters."""
    opened = {0}
    for cluster in clusters:
        above = cluster.parent if cluster.failing else None
        while above is not None and above not in opened:
            opened.add(above)
            above = clusters[above].parent
    return opened
