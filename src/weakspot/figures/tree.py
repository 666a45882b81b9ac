"""Draws the cluster tree as nested bars, and the silhouette of every cut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from weakspot.figures.style import (
    BLUE,
    DARK_GREY,
    DIVERGING,
    LIGHT_GREY,
    MID_GREY,
    VERMILION,
    column_figure,
    style,
)
from weakspot.findings import Findings, numbers
from weakspot.findings.entries import Cluster

_LABELLED = 16  # the largest failing clusters, whose numbers are written below the tree
_BARS = 3000  # the widest are drawn, and failing clusters however narrow: the others are finer than print
_LABEL_DISTANCE = 0.058  # share of the width, at least, between two numbers
_TICK_DISTANCE = 0.06  # share of the scale, at least, between 0 or 100 % and the accuracy of all examples


@style()
def tree(findings: Findings) -> Figure:
    """Draw the cluster tree: each node is a bar as wide as its examples, coloured by accuracy, above its children.

    Colours turn at the accuracy of all examples: blue above, orange below. Failing clusters are outlined, and the
    numbers of their slices are written below them. For a very large tree, only the widest bars and those of failing
    clusters are drawn.

    Args:
        findings: Findings of a method that makes a tree (UDIS).

    Returns:
        The figure, a column wide.

    Raises:
        ValueError: If there is no tree.
    """
    clusters = findings.clusters
    if not clusters:
        raise ValueError(f"method={findings.method} makes no cluster tree to draw; method=udis does")
    levels = 1 + max(cluster.depth for cluster in clusters)
    overall = min(max(clusters[0].accuracy, 1e-6), 1 - 1e-6)
    scale = TwoSlopeNorm(overall, 0, 1)
    figure = column_figure(1.1 + min(1.6, 0.2 * levels))
    axes = figure.add_subplot()
    failing = []
    least = _least_size(clusters)
    for cluster, left in zip(clusters, _left_edges(clusters), strict=True):
        if cluster.size <= least and not cluster.failing:
            continue
        height = levels - cluster.depth if cluster.leaf else 1
        bar = Rectangle(
            (left, cluster.depth),
            cluster.size,
            height,
            facecolor=DIVERGING(float(scale(cluster.accuracy))),
            edgecolor="white",
            linewidth=min(0.3, 60 / min(len(clusters), _BARS)),
        )
        axes.add_patch(bar)
        if cluster.failing:
            bar.set(
                edgecolor=DARK_GREY, linewidth=min(0.8, 0.2 + 20 * cluster.size / clusters[0].size), zorder=2
            )
            failing.append((left + cluster.size / 2, cluster))
    axes.set(
        xlim=(0, clusters[0].size),
        ylim=(levels, 0),
        xlabel="Examples, by cluster",
        ylabel="Depth in the tree",
    )
    depths = range(0, levels, max(1, -(-levels // 6)))
    axes.set_yticks([depth + 0.5 for depth in depths], labels=map(str, depths))
    axes.yaxis.set_tick_params(length=0)
    axes.spines[:].set_visible(False)
    _write_labels(axes, failing, clusters[0].size)
    colours = figure.colorbar(ScalarMappable(scale, DIVERGING), ax=axes, label="Accuracy", aspect=25)
    colours.ax.set_yscale("linear")
    ends = [end for end in (0.0, 1.0) if abs(end - overall) > _TICK_DISTANCE]
    colours.set_ticks(
        sorted([*ends, overall]), labels=[numbers.percent(at) for at in sorted([*ends, overall])]
    )
    colours.outline.set_visible(False)
    return figure


def _least_size(clusters: Sequence[Cluster]) -> float:
    """Return the size that a node must exceed to be among the `_BARS` largest; 0 if all nodes are drawn."""
    sizes = sorted((cluster.size for cluster in clusters), reverse=True)
    return sizes[_BARS] if len(sizes) > _BARS else 0.0


def _left_edges(clusters: Sequence[Cluster]) -> list[float]:
    """Return where each node begins: the children of a node lie side by side, in their order."""
    lefts: list[float] = []
    ends: list[float] = []  # how far the children of each node reach so far
    for cluster in clusters:
        left = 0.0 if cluster.parent is None else ends[cluster.parent]
        lefts.append(left)
        ends.append(left)
        if cluster.parent is not None:
            ends[cluster.parent] += cluster.size
    return lefts


def _write_labels(axes: Axes, failing: Sequence[tuple[float, Cluster]], width: float) -> None:
    """Write the numbers of failing clusters' slices below them, moved apart where they would overlap."""
    largest = sorted(failing, key=lambda one: -one[1].size)[:_LABELLED]
    shown = sorted((one for one in largest if one[1].slice is not None), key=lambda one: one[0])
    middles = [middle / width for middle, _ in shown]
    place = axes.get_xaxis_transform()
    for middle, moved, (_, cluster) in zip(middles, move_apart(middles, _LABEL_DISTANCE), shown, strict=True):
        across = [middle * width, moved * width]
        axes.plot(across, [0, -0.05], transform=place, color=MID_GREY, linewidth=0.4, clip_on=False)
        axes.annotate(
            str(cluster.slice),
            (across[1], -0.05),
            (0, -4),
            xycoords=place,
            textcoords="offset points",
            va="center",
            ha="center",
            fontsize=5,
            bbox={
                "boxstyle": "round,pad=0.2",
                "facecolor": "white",
                "edgecolor": DARK_GREY,
                "linewidth": 0.4,
            },
        )
    axes.tick_params(axis="x", pad=14 if shown else 2)


def move_apart(places: Sequence[float], least: float) -> list[float]:
    """Move ascending positions in [0, 1] as little as possible so that each is `least` from the next, if they fit."""
    least = min(least, 1 / max(len(places), 1))
    groups: list[tuple[list[int], float]] = []  # positions that touch, and where the first one lies
    for i, place in enumerate(places):
        groups.append(([i], place))
        while len(groups) > 1 and groups[-1][1] < groups[-2][1] + least * len(groups[-2][0]):
            (before, _), (after, _) = groups[-2:]
            joined = before + after
            start = float(np.mean([places[j] - least * k for k, j in enumerate(joined)]))
            groups[-2:] = [(joined, min(max(start, 0.0), 1 - least * (len(joined) - 1)))]
    return [start + least * k for group, start in groups for k in range(len(group))]


@style()
def silhouettes(findings: Findings) -> Figure:
    """Draw the silhouette of every number of clusters that was scored, with the chosen cut marked.

    Args:
        findings: Findings of a method that cuts a tree (UDIS).

    Returns:
        The figure, a column wide.

    Raises:
        ValueError: If fewer than two cuts were scored.
    """
    if len(findings.cut_scores) < 2:
        raise ValueError("fewer than two cuts were scored, so there is no curve to draw")
    clusters, scores = np.array(findings.cut_scores).T
    figure = column_figure(1.5)
    axes = figure.add_subplot(xlabel="Number of clusters", ylabel="Silhouette")
    axes.plot(clusters, scores, color=BLUE, linewidth=0.9)
    cut = sum(cluster.clusters for cluster in findings.clusters if cluster.leaf)
    if cut in clusters:
        score = float(scores[clusters == cut][0])
        axes.plot(cut, score, "o", color=VERMILION, markersize=4)
        side = "right" if cut > clusters.mean() else "left"
        note = f"{cut} clusters, {numbers.decimal(score)}"
        axes.annotate(note, (cut, score), (0, 4), textcoords="offset points", ha=side)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color=LIGHT_GREY, linewidth=0.4)
    axes.margins(y=0.15)
    return figure
