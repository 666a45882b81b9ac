"""Draws the map: every example by its two principal components, by loss or by prediction, and each slice in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from weakspot.figures.style import (
    DIVERGING,
    LIGHT_GREY,
    MID_GREY,
    PALETTE,
    SEQUENTIAL,
    SMALL,
    WIDTH,
    column_figure,
    style,
)
from weakspot.figures.text_fitting import fit_line
from weakspot.findings import numbers
from weakspot.findings.figure_map import ColouredMap, PointColouring, build_coloured_map
from weakspot.predictions import Predictions
from weakspot.slices import Slices

_ACROSS = 3  # small maps in a row
_RASTER = 2000  # points; more are drawn as one image, because a page of a million would never open
_BACKGROUND = 20_000  # points behind each highlighted slice; if there are more, a sample is drawn
_LEAST_WEIGHT = 0.05  # share of a slice's largest weight: examples with less are grey


@dataclass(frozen=True, eq=False)
class PointColours:
    """How values are mapped to colours.

    Attributes:
        label: The label of the scale.
        colormap, norm: They map values to colours.
        names: The name of each value that is a class; none for numbers.
    """

    label: str
    colormap: Colormap
    norm: Normalize
    names: tuple[str, ...] = ()


@style()
def space(
    predictions: Predictions,
    slices: Slices | None = None,
    by: Literal["loss", "prediction"] = "loss",
    at: Float[np.ndarray, "n 2"] | None = None,
    most: int = 6,
) -> Figure:
    """Draw the map of all examples by loss or by prediction, and below it one small map for each slice.

    Examples of the highest loss are drawn last. In a small map the members of the slice are coloured and drawn
    larger the more weight they have, and all others are grey.

    Args:
        predictions: The n examples.
        slices: Slices of the same examples.
        by: "loss", or "prediction": for two classes the probability of the second, for more classes the class, for
            ratings and numbers the expected value.
        at: (n, 2) where each example lies; by default its first two principal components.
        most: The maximum number of slices with a small map.

    Returns:
        The figure, a column wide.

    Raises:
        ValueError: If the predictions lack the values to colour by.
    """
    axis_name = "Principal component" if at is None else "Dimension"
    shown = build_coloured_map(predictions, slices, by, most, len(PALETTE), at)
    point_colours = _point_colours(shown.colouring)
    rows = -(-len(shown.highlighted) // _ACROSS)
    figure = column_figure(2.35 + rows * WIDTH / _ACROSS * 1.1)
    grid = figure.add_gridspec(1 + rows, _ACROSS, height_ratios=[2.2] + [1] * rows)
    axes = figure.add_subplot(grid[0, :])
    axes.set(xlabel=f"{axis_name} 1", ylabel=f"{axis_name} 2")
    _draw_points(axes, shown, point_colours, np.argsort(shown.drawing_order, kind="stable"), 4)
    _draw_scale(figure, axes, shown.colouring, point_colours)
    for j, one in enumerate(shown.highlighted):
        small = figure.add_subplot(grid[1 + j // _ACROSS, j % _ACROSS])
        small.set(xlim=axes.get_xlim(), ylim=axes.get_ylim(), xticks=[], yticks=[])
        small.set_title(one.name, fontsize=6)
        small.set_xlabel(f"size {numbers.count(one.size)}", fontsize=SMALL, color=MID_GREY, labelpad=2)
        small.spines[:].set(visible=True, color=LIGHT_GREY)
        largest_weight = one.weights.max(initial=0)
        inside = one.weights > _LEAST_WEIGHT * largest_weight
        _draw_background(small, shown.positions, np.flatnonzero(~inside))
        order = np.flatnonzero(inside)[np.argsort(one.weights[inside], kind="stable")]
        _draw_points(
            small, shown, point_colours, order, 1 + 5 * one.weights[order] / max(largest_weight, 1e-12)
        )
    return figure


def _point_colours(colouring: PointColouring) -> PointColours:
    """Return a colour for each of the classes most often predicted, with all others in grey; or a scale of numbers."""
    scale = Normalize(colouring.low, colouring.high)
    if colouring.kind == "class":
        names = tuple(fit_line(name, 0.6, 6) for name in colouring.names) + (
            ("others",) if colouring.others else ()
        )
        colours = ListedColormap([*PALETTE[: len(colouring.names)], "#BBBBBB"])
        return PointColours(colouring.label, colours, scale, names)
    if colouring.kind == "probability":
        return PointColours(f"{colouring.label} of {fit_line(colouring.names[0], 1, 6.5)}", DIVERGING, scale)
    return PointColours(colouring.label, SEQUENTIAL, scale)


def _draw_points(
    axes: Axes, shown: ColouredMap, point_colours: PointColours, order: np.ndarray, size: Any
) -> None:
    axes.scatter(
        shown.positions[order, 0],
        shown.positions[order, 1],
        c=shown.colouring.values[order],
        s=size if len(order) <= _RASTER else np.minimum(size, 1.5),
        cmap=point_colours.colormap,
        norm=point_colours.norm,
        linewidths=0,
        rasterized=len(order) > _RASTER,
    )


def _draw_background(axes: Axes, at: np.ndarray, others: np.ndarray) -> None:
    if len(others) > _BACKGROUND:
        others = np.random.default_rng(0).choice(others, _BACKGROUND, replace=False)
    rasterized = len(others) > _RASTER
    axes.scatter(at[others, 0], at[others, 1], s=0.7, c=LIGHT_GREY, linewidths=0, rasterized=rasterized)


def _draw_scale(figure: Figure, axes: Axes, colouring: PointColouring, point_colours: PointColours) -> None:
    """Draw the scale: for numbers as a bar, for classes as a list."""
    if not point_colours.names:
        clipped = colouring.values.max() > colouring.high
        bar = figure.colorbar(
            axes.collections[0],
            ax=axes,
            label=point_colours.label,
            extend="max" if clipped else "neither",
            aspect=25,
        )
        bar.outline.set_visible(False)
        return
    colours = [point_colours.colormap(point_colours.norm(code)) for code in range(len(point_colours.names))]
    signs = [
        Line2D([], [], color=colour, marker="o", markersize=3, linestyle="", label=name)
        for colour, name in zip(colours, point_colours.names, strict=True)
    ]
    legend = axes.legend(
        handles=signs, title=point_colours.label, loc="center left", bbox_to_anchor=(1, 0.5), alignment="left"
    )
    legend.get_title().set(fontsize=6, color=MID_GREY)
