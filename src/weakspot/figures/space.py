"""The map: every example by its two principal components, by loss or by prediction, and each slice lit in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Num
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from weakspot.explain.projection import projection
from weakspot.figures.lettering import line
from weakspot.figures.style import EITHER, FAINT, MORE, PALETTE, QUIET, SMALL, WIDTH, sheet, style
from weakspot.findings import numbers
from weakspot.methods.registry import method_of
from weakspot.predictions import Predictions
from weakspot.slices import Slices
from weakspot.tasks import Classification, Rating, Regression

_ACROSS = 3  # small maps in a row
_RASTER = 2000  # points, above which they are drawn as one image: a page of a million would never open
_BEHIND = 20_000  # points behind each lit slice, of a larger set a part
_LIT = 0.05  # of a slice's largest weight: what has less is grey
_CLIPPED = 0.99  # of the losses: the colours end where one in a hundred begins


@dataclass(frozen=True, eq=False)
class Shade:
    """What points are coloured by.

    Attributes:
        label: Of the scale.
        values: (n,) one for each example.
        colours, scale: From values to colours.
        names: Of each value that is a class; none of a number.
    """

    label: str
    values: Num[np.ndarray, " n"]
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
    shade = shade_of(predictions, by)
    named = "Principal component" if at is None else "Dimension"
    at = projection(predictions.embeddings) if at is None else np.asarray(at)
    lit = [] if slices is None else [np.asarray(slices.weights[j]) for j in range(min(most, len(slices)))]
    rows = -(-len(lit) // _ACROSS)
    figure = sheet(2.35 + rows * WIDTH / _ACROSS * 1.1)
    grid = figure.add_gridspec(1 + rows, _ACROSS, height_ratios=[2.2] + [1] * rows)
    axes = figure.add_subplot(grid[0, :])
    axes.set(xlabel=f"{named} 1", ylabel=f"{named} 2")
    _points(axes, at, shade, np.argsort(_last(predictions, shade), kind="stable"), 4)
    _scale(figure, axes, shade)
    noun = "" if slices is None else method_of(slices).noun
    size = np.ones(len(predictions)) if predictions.counts is None else predictions.counts
    for j, weights in enumerate(lit):
        small = figure.add_subplot(grid[1 + j // _ACROSS, j % _ACROSS])
        small.set(xlim=axes.get_xlim(), ylim=axes.get_ylim(), xticks=[], yticks=[])
        small.set_title(f"{noun} {j + 1}", fontsize=6)
        small.set_xlabel(
            f"size {numbers.count(float(size @ weights))}", fontsize=SMALL, color=QUIET, labelpad=2
        )
        small.spines[:].set(visible=True, color=FAINT)
        heaviest = weights.max(initial=0)
        inside = weights > _LIT * heaviest
        _behind(small, at, np.flatnonzero(~inside))
        order = np.flatnonzero(inside)[np.argsort(weights[inside], kind="stable")]
        _points(small, at, shade, order, 1 + 5 * weights[order] / max(heaviest, 1e-12))
    return figure


def shade_of(predictions: Predictions, by: str) -> Shade:
    """What to colour the examples by; see `space`."""
    p = predictions
    if by == "loss":
        if p.losses is None:
            raise ValueError("these predictions hold no losses to colour a map by")
        values = p.losses.astype(np.float64)
        high = float(np.quantile(values, _CLIPPED))
        low = min(0.0, float(values.min()))
        return Shade("Loss", values, MORE, Normalize(low, high if high > low else low + 1))
    if by != "prediction":
        raise ValueError(f"a map is coloured by loss or by prediction, not by {by!r}")
    task, guesses = p.task, p.predictions
    if isinstance(task, Regression) and guesses is not None:
        return _numbers("Predicted number", guesses.astype(np.float64))
    if isinstance(task, Rating) and p.outputs is not None:
        import torch

        expected = np.asarray(task.estimate(torch.tensor(p.outputs))) + float(task.classes[0])
        return _numbers("Expected rating", expected)
    if type(task) is Classification and len(task.classes) == 2 and p.outputs is not None:
        first, second = p.outputs.astype(np.float64).T
        probability = 1 / (1 + np.exp(np.clip(first - second, -700, 700)))
        return Shade(f"Probability of {line(task.classes[1], 1, 6.5)}", probability, EITHER, Normalize(0, 1))
    if isinstance(task, Classification) and guesses is not None:
        return _classes(task.classes, guesses)
    raise ValueError("these predictions are neither classes nor numbers, so a map is not coloured by them")


def _numbers(label: str, values: np.ndarray) -> Shade:
    low, high = (float(end) for end in np.quantile(values, [1 - _CLIPPED, _CLIPPED]))
    return Shade(label, values, MORE, Normalize(low, high if high > low else low + 1))


def _classes(classes: tuple[str, ...], guesses: np.ndarray) -> Shade:
    """The classes most often predicted in a colour each, all others in grey."""
    found = np.bincount(guesses, minlength=len(classes))
    common = [int(c) for c in np.argsort(-found, kind="stable")[: len(PALETTE)] if found[c] > 0]
    codes = np.full(len(classes), len(common))
    codes[common] = range(len(common))
    names = [line(classes[c], 0.6, 6) for c in common]
    if (found > 0).sum() > len(common):
        names.append("others")
    colours = ListedColormap([*PALETTE[: len(common)], "#BBBBBB"])
    return Shade("Predicted class", codes[guesses], colours, Normalize(0, len(common)), tuple(names))


def _last(predictions: Predictions, shade: Shade) -> np.ndarray:
    """What is drawn on top of the rest: the highest losses, where they are known."""
    return shade.values if predictions.losses is None else predictions.losses


def _points(axes: Axes, at: np.ndarray, shade: Shade, order: np.ndarray, size: Any) -> None:
    axes.scatter(
        at[order, 0],
        at[order, 1],
        c=shade.values[order],
        s=size if len(order) <= _RASTER else np.minimum(size, 1.5),
        cmap=shade.colours,
        norm=shade.scale,
        linewidths=0,
        rasterized=len(order) > _RASTER,
    )


def _behind(axes: Axes, at: np.ndarray, others: np.ndarray) -> None:
    if len(others) > _BEHIND:
        others = np.random.default_rng(0).choice(others, _BEHIND, replace=False)
    rasterized = len(others) > _RASTER
    axes.scatter(at[others, 0], at[others, 1], s=0.7, c=FAINT, linewidths=0, rasterized=rasterized)


def _scale(figure: Figure, axes: Axes, shade: Shade) -> None:
    """The scale of numbers as a bar, that of classes as a list."""
    if not shade.names:
        clipped = shade.values.max() > (shade.scale.vmax or 0)
        bar = figure.colorbar(
            axes.collections[0], ax=axes, label=shade.label, extend="max" if clipped else "neither", aspect=25
        )
        bar.outline.set_visible(False)
        return
    colours = [shade.colours(shade.scale(code)) for code in range(len(shade.names))]
    signs = [
        Line2D([], [], color=colour, marker="o", markersize=3, linestyle="", label=name)
        for colour, name in zip(colours, shade.names, strict=True)
    ]
    legend = axes.legend(
        handles=signs, title=shade.label, loc="center left", bbox_to_anchor=(1, 0.5), alignment="left"
    )
    legend.get_title().set(fontsize=6, color=QUIET)
