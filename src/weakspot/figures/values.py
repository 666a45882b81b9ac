"""A table of an attribute: how well the model does on each of its values, and how much of each slice has it."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from weakspot.figures.lettering import line
from weakspot.figures.style import BLUE, FAINT, INK, MORE, PERCENT, QUIET, SMALL, sheet, style
from weakspot.findings.attribute_values import AttributeValues, ValueRow, describe_attribute_values
from weakspot.predictions import Predictions
from weakspot.slices import Slices

_SLICES = 5
_DARKEST = 8.0  # times commoner inside a slice


@style()
def values(predictions: Predictions, slices: Slices, attribute: str, most: int = 12) -> Figure:
    """Of each value of an attribute the accuracy with its 95 % interval, and its share of every slice.

    Of questions whose articles are known these are their topics, of faces ages or races. Values on which the model does
    worst come first, ranges of numbers in their order. Shares are darker where a value is commoner in the slice
    than among all. Where the record does not tell right from wrong, and of ratings and numbers, the mean loss stands
    for the accuracy.

    Args:
        predictions: The record.
        slices: Of the same examples; the first five are shown.
        attribute: Its name.
        most: How many values are shown, of those with at least five examples where any has as many.

    Returns:
        The figure, a column wide.

    Raises:
        ValueError: If there is no such attribute, or it describes nothing.
    """
    table = describe_attribute_values(predictions, slices, attribute, most, _SLICES)
    rows = table.rows
    figure = sheet(0.85 + 0.135 * len(rows))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1, 1.15])
    for y, row in enumerate(rows):
        if row.performance.interval is not None:
            left.plot(row.performance.interval, [y, y], color=BLUE, linewidth=1, solid_capstyle="butt")
        left.plot(row.performance.inside, y, "o", color=BLUE, markersize=3, clip_on=False)
    left.axvline(table.overall, color=QUIET, linewidth=0.6, linestyle=":", zorder=0)
    left.set(yticks=range(len(rows)), yticklabels=[line(row.text, 0.85, 6) for row in rows])
    left.set(
        ylim=(len(rows) - 0.5, -0.5),
        ylabel=line(attribute, 0.5 + 0.135 * len(rows), 6.5),
        xlabel=f"{'Accuracy' if table.by_accuracy else 'Mean loss'}, 95 % interval",
    )
    left.tick_params(axis="y", length=0)
    left.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    left.grid(axis="x", color=FAINT, linewidth=0.4)
    if table.by_accuracy:
        left.xaxis.set_major_formatter(PERCENT)
    _shares(right, table)
    if len(rows) < table.n_measured:
        left.set_title(f"{len(rows)} of {table.n_values} values", fontsize=SMALL, color=QUIET)
    return figure


def _shares(axes: Axes, table: AttributeValues) -> None:
    """The share of each value among all examples and in each slice, in percent."""
    groups = len(table.rows[0].shares)
    for y, row in enumerate(table.rows):
        for x, share in enumerate(row.shares):
            depth = 0.0 if x == 0 else _depth(row, x)
            if depth > 0:
                axes.fill_between([x - 0.5, x + 0.5], y - 0.5, y + 0.5, color=MORE(0.75 * depth), linewidth=0)
            words = "–" if share == 0 else "<1" if share < 0.005 else f"{100 * share:.0f}"
            colour = "white" if depth > 0.5 else INK
            axes.text(x, y, words, ha="center", va="center", fontsize=SMALL, color=colour)
    axes.axvline(0.5, color=FAINT, linewidth=0.6)
    axes.set(xlim=(-0.5, groups - 0.5), xlabel=f"% of all, of each {table.noun.lower()}")
    axes.set_xticks(range(groups), ["all", *map(str, range(1, groups))])
    axes.tick_params(length=0, labelleft=False)
    axes.spines[:].set_visible(False)


def _depth(row: ValueRow, group: int) -> float:
    """How dark a cell is, in [0, 1]: the darker the commoner the value is in the slice than among all."""
    lift = row.shares[group] / max(row.shares[0], 1e-12)
    return float(np.clip(np.log(max(lift, 1)) / np.log(_DARKEST), 0, 1))
