"""The map: every example by its two principal components, by loss or by prediction, and each slice lit in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from weakspot.figures.lettering import line
from weakspot.figures.style import EITHER, FAINT, MORE, PALETTE, QUIET, SMALL, WIDTH, sheet, style
from weakspot.findings import numbers
from weakspot.findings.coloured_map import ColouredMap, PointColouring, build_coloured_map
from weakspot.predictions import Predictions
from weakspot.slices import Slices

_ACROSS = 3  # small maps in a row
_RASTER = 2000  # points, above which they are drawn as one image: a page of a million would never open
_BEHIND = 20_000  # points behind each lit slice, of a larger set a part
_LIT = 0.05  # of a slice's largest weight: what has less is grey


@dataclass(frozen=True, eq=False)
class Ink:
    """The colours of what points are coloured by.

    Attributes:
        label: Of the scale.
        colours, scale: From values to colours.
        names: Of each value that is a class; none of a number.
    """

    label: str
    colours: Colormap
    scale: Normalize
    names: tuple[str, ...] = ()


@style()
def space(
    predictions: Predictions,
    slices: Slices | None = None,
    by: Literal["loss", "prediction"] = "loss",
    at: Float[np.ndarray, "n 2"] | None = None,
    most: int = 6,
) -> Figure:
    """The map of all examples by loss or by prediction, and below it one small map for each slice, lit.

    Those of the highest loss are drawn last. In a small map the slice's members have their colours, the larger
    the heavier, and all others are grey.

    Args:
        predictions: The record.
        slices: Of the same examples.
        by: "loss", or "prediction": of two classes the probability of the second, of more classes the class, of
            ratings and numbers what is expected.
        at: Where each example lies; by default its first two principal components.
        most: How many slices are lit, at most.

    Returns:
        The figure, a column wide.

    Raises:
        ValueError: If the record does not hold what to colour by.
    """
    named = "Principal component" if at is None else "Dimension"
    shown = build_coloured_map(predictions, slices, by, most, len(PALETTE), at)
    ink = _ink(shown.colouring)
    rows = -(-len(shown.highlighted) // _ACROSS)
    figure = sheet(2.35 + rows * WIDTH / _ACROSS * 1.1)
    grid = figure.add_gridspec(1 + rows, _ACROSS, height_ratios=[2.2] + [1] * rows)
    axes = figure.add_subplot(grid[0, :])
    axes.set(xlabel=f"{named} 1", ylabel=f"{named} 2")
    _points(axes, shown, ink, np.argsort(shown.drawing_order, kind="stable"), 4)
    _scale(figure, axes, shown.colouring, ink)
    for j, one in enumerate(shown.highlighted):
        small = figure.add_subplot(grid[1 + j // _ACROSS, j % _ACROSS])
        small.set(xlim=axes.get_xlim(), ylim=axes.get_ylim(), xticks=[], yticks=[])
        small.set_title(one.name, fontsize=6)
        small.set_xlabel(f"size {numbers.count(one.size)}", fontsize=SMALL, color=QUIET, labelpad=2)
        small.spines[:].set(visible=True, color=FAINT)
        heaviest = one.weights.max(initial=0)
        inside = one.weights > _LIT * heaviest
        _behind(small, shown.positions, np.flatnonzero(~inside))
        order = np.flatnonzero(inside)[np.argsort(one.weights[inside], kind="stable")]
        _points(small, shown, ink, order, 1 + 5 * one.weights[order] / max(heaviest, 1e-12))
    return figure


def _ink(colouring: PointColouring) -> Ink:
    """Of the classes most often predicted a colour each, all others in grey; of numbers a scale."""
    scale = Normalize(colouring.low, colouring.high)
    if colouring.kind == "class":
        names = tuple(line(name, 0.6, 6) for name in colouring.names) + (
            ("others",) if colouring.others else ()
        )
        colours = ListedColormap([*PALETTE[: len(colouring.names)], "#BBBBBB"])
        return Ink(colouring.label, colours, scale, names)
    if colouring.kind == "probability":
        return Ink(f"{colouring.label} of {line(colouring.names[0], 1, 6.5)}", EITHER, scale)
    return Ink(colouring.label, MORE, scale)


def _points(axes: Axes, shown: ColouredMap, ink: Ink, order: np.ndarray, size: Any) -> None:
    axes.scatter(
        shown.positions[order, 0],
        shown.positions[order, 1],
        c=shown.colouring.values[order],
        s=size if len(order) <= _RASTER else np.minimum(size, 1.5),
        cmap=ink.colours,
        norm=ink.scale,
        linewidths=0,
        rasterized=len(order) > _RASTER,
    )


def _behind(axes: Axes, at: np.ndarray, others: np.ndarray) -> None:
    if len(others) > _BEHIND:
        others = np.random.default_rng(0).choice(others, _BEHIND, replace=False)
    rasterized = len(others) > _RASTER
    axes.scatter(at[others, 0], at[others, 1], s=0.7, c=FAINT, linewidths=0, rasterized=rasterized)


def _scale(figure: Figure, axes: Axes, colouring: PointColouring, ink: Ink) -> None:
    """The scale of numbers as a bar, that of classes as a list."""
    if not ink.names:
        clipped = colouring.values.max() > colouring.high
        bar = figure.colorbar(
            axes.collections[0], ax=axes, label=ink.label, extend="max" if clipped else "neither", aspect=25
        )
        bar.outline.set_visible(False)
        return
    colours = [ink.colours(ink.scale(code)) for code in range(len(ink.names))]
    signs = [
        Line2D([], [], color=colour, marker="o", markersize=3, linestyle="", label=name)
        for colour, name in zip(colours, ink.names, strict=True)
    ]
    legend = axes.legend(
        handles=signs, title=ink.label, loc="center left", bbox_to_anchor=(1, 0.5), alignment="left"
    )
    legend.get_title().set(fontsize=6, color=QUIET)
