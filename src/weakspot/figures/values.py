"""Draws how well the model does on each value of an attribute, and how much of each slice has the value."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from weakspot.figures.style import (
    BLUE,
    DARK_GREY,
    LIGHT_GREY,
    MID_GREY,
    PERCENT,
    SEQUENTIAL,
    SMALL,
    column_figure,
    style,
)
from weakspot.figures.text_fitting import fit_line
from weakspot.findings.attribute_values import AttributeValues, ValueRow, describe_attribute_values
from weakspot.predictions import Predictions
from weakspot.slices import Slices

_SLICES = 5  # the maximum number of slices that are shown
_DARKEST = 8.0  # lift of a value in a slice at which a cell is darkest


@style()
def values(predictions: Predictions, slices: Slices, attribute: str, most: int = 12) -> Figure:
    """Draw the accuracy on each value of an attribute with its 95 % interval, and the value's share of every slice.

    The values may be the topics of questions whose articles are known, or the ages or races of faces. Values on which
    the model does worst come first; ranges of numbers are in their own order. A share is darker where the value is
    more common in the slice than among all. The mean loss takes the place of the accuracy for ratings and numbers,
    and if predictions are not right or wrong.

    Args:
        predictions: The examples.
        slices: Slices of the same examples, of which the first five are shown.
        attribute: The name of the attribute.
        most: The maximum number of values, of those that at least five examples have, if there are any.

    Returns:
        The figure, a column wide.

    Raises:
        ValueError: If there is no such attribute, or it describes nothing.
    """
    table = describe_attribute_values(predictions, slices, attribute, most, _SLICES)
    rows = table.rows
    figure = column_figure(0.85 + 0.135 * len(rows))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1, 1.15])
    for y, row in enumerate(rows):
        if row.performance.interval is not None:
            left.plot(row.performance.interval, [y, y], color=BLUE, linewidth=1, solid_capstyle="butt")
        left.plot(row.performance.inside, y, "o", color=BLUE, markersize=3, clip_on=False)
    left.axvline(table.overall, color=MID_GREY, linewidth=0.6, linestyle=":", zorder=0)
    left.set(yticks=range(len(rows)), yticklabels=[fit_line(row.text, 0.85, 6) for row in rows])
    left.set(
        ylim=(len(rows) - 0.5, -0.5),
        ylabel=fit_line(attribute, 0.5 + 0.135 * len(rows), 6.5),
        xlabel=f"{'Accuracy' if table.by_accuracy else 'Mean loss'}, 95 % interval",
    )
    left.tick_params(axis="y", length=0)
    left.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    left.grid(axis="x", color=LIGHT_GREY, linewidth=0.4)
    if table.by_accuracy:
        left.xaxis.set_major_formatter(PERCENT)
    _write_shares(right, table)
    if len(rows) < table.n_measured:
        left.set_title(f"{len(rows)} of {table.n_values} values", fontsize=SMALL, color=MID_GREY)
    return figure


def _write_shares(axes: Axes, table: AttributeValues) -> None:
    """Write the share of each value among all examples and in each slice, in percent."""
    groups = len(table.rows[0].shares)
    for y, row in enumerate(table.rows):
        for x, share in enumerate(row.shares):
            darkness = 0.0 if x == 0 else _darkness(row, x)
            if darkness > 0:
                axes.fill_between(
                    [x - 0.5, x + 0.5], y - 0.5, y + 0.5, color=SEQUENTIAL(0.75 * darkness), linewidth=0
                )
            words = "–" if share == 0 else "<1" if share < 0.005 else f"{100 * share:.0f}"
            colour = "white" if darkness > 0.5 else DARK_GREY
            axes.text(x, y, words, ha="center", va="center", fontsize=SMALL, color=colour)
    axes.axvline(0.5, color=LIGHT_GREY, linewidth=0.6)
    axes.set(xlim=(-0.5, groups - 0.5), xlabel=f"% of all, of each {table.noun.lower()}")
    axes.set_xticks(range(groups), ["all", *map(str, range(1, groups))])
    axes.tick_params(length=0, labelleft=False)
    axes.spines[:].set_visible(False)


def _darkness(row: ValueRow, group: int) -> float:
    """Return how dark a cell is, in [0, 1]: the darker, the more common the value is in the slice than among all."""
    lift = row.shares[group] / max(row.shares[0], 1e-12)
    return float(np.clip(np.log(max(lift, 1)) / np.log(_DARKEST), 0, 1))
