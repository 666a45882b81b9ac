"""A table of an attribute: how well the model does on each of its values, and how much of each slice has it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from weakspot.evaluation.contrasts import Contrast, accuracy_contrast, loss_contrast
from weakspot.figures.lettering import line
from weakspot.figures.style import BLUE, FAINT, INK, MORE, PERCENT, QUIET, SMALL, sheet, style
from weakspot.methods.registry import audit_of, method_of
from weakspot.predictions import Predictions
from weakspot.predictions.attributes import Categorical, categorise
from weakspot.slices import Slices

_FEWEST = 5.0  # examples that say something of a value
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
    audited = audit_of(slices, predictions)
    rows = np.flatnonzero(audited.rows)
    p = audited.record.take(rows)
    column = _column(p, attribute)
    counts = np.ones(len(p)) if p.counts is None else p.counts.astype(np.float64)
    contrasts, whole, label = _contrasts(p, column, counts)
    chosen = _chosen(contrasts, column, label == "Accuracy", most)

    figure = sheet(0.85 + 0.135 * len(chosen))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1, 1.15])
    for y, code in enumerate(chosen):
        contrast = contrasts[code]
        if contrast.interval is not None:
            left.plot(contrast.interval, [y, y], color=BLUE, linewidth=1, solid_capstyle="butt")
        left.plot(contrast.inside, y, "o", color=BLUE, markersize=3, clip_on=False)
    left.axvline(whole, color=QUIET, linewidth=0.6, linestyle=":", zorder=0)
    left.set(yticks=range(len(chosen)), yticklabels=[line(column.values[code], 0.85, 6) for code in chosen])
    left.set(
        ylim=(len(chosen) - 0.5, -0.5),
        ylabel=line(attribute, 0.5 + 0.135 * len(chosen), 6.5),
        xlabel=f"{label}, 95 % interval",
    )
    left.tick_params(axis="y", length=0)
    left.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    left.grid(axis="x", color=FAINT, linewidth=0.4)
    if label == "Accuracy":
        left.xaxis.set_major_formatter(PERCENT)
    weights = [np.asarray(slices.weights[j])[rows] for j in range(min(5, len(slices)))]
    _shares(right, column, chosen, counts, weights, method_of(slices).noun)
    if len(chosen) < len(contrasts):
        said = f"{len(chosen)} of {len(column.values)} values"
        left.set_title(said, fontsize=SMALL, color=QUIET)
    return figure


def _column(p: Predictions, attribute: str) -> Categorical:
    if attribute not in p.attributes.column_names:
        known = ", ".join(p.attributes.column_names) or "none"
        raise ValueError(f"there is no attribute {attribute!r} here; there are: {known}")
    found = categorise(p.attributes.select([attribute]))
    if not found:
        raise ValueError(
            f"the attribute {attribute!r} describes nothing: it has one value only, or names rows"
        )
    return found[0]


def _contrasts(
    p: Predictions, column: Categorical, counts: Float[np.ndarray, " n"]
) -> tuple[dict[int, Contrast], float, str]:
    """How well the model does on each value that has examples enough, and on all; and the word for that."""
    sizes = np.bincount(column.codes, weights=counts, minlength=len(column.values))
    enough = [int(code) for code in np.flatnonzero(sizes >= min(_FEWEST, sizes.max()))]
    if p.correct is not None and (p.task is None or p.task.by_accuracy):
        right = np.asarray(p.correct, dtype=bool)
        found = {code: accuracy_contrast(right, *_sides(column, counts, code), None) for code in enough}
        return found, float(np.average(right, weights=counts)), "Accuracy"
    if p.losses is None:
        raise ValueError("these predictions hold neither losses nor which examples are right")
    losses = p.losses.astype(np.float64)
    found = {code: loss_contrast(losses, *_sides(column, counts, code), None) for code in enough}
    return found, float(np.average(losses, weights=counts)), "Mean loss"


def _sides(
    column: Categorical, counts: Float[np.ndarray, " n"], code: int
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """The counts of the examples that have a value, and of those that have another."""
    inside = counts * (column.codes == code)
    return inside, counts - inside


def _chosen(contrasts: dict[int, Contrast], column: Categorical, by_accuracy: bool, most: int) -> list[int]:
    """The values that do worst; ranges in their own order, where all of them have room."""
    if column.unit is not None and len(contrasts) <= most:
        return sorted(contrasts)
    sign = 1 if by_accuracy else -1
    return sorted(contrasts, key=lambda code: (sign * contrasts[code].inside, code))[:most]


def _shares(
    axes: Axes,
    column: Categorical,
    chosen: Sequence[int],
    counts: np.ndarray,
    weights: Sequence[np.ndarray],
    noun: str,
) -> None:
    """The share of each value among all examples and in each slice, in percent."""
    groups = [counts, *(counts * w for w in weights)]
    shares = np.array(
        [
            np.bincount(column.codes, weights=mass, minlength=len(column.values)) / max(mass.sum(), 1e-12)
            for mass in groups
        ]
    )
    lifts = shares[1:] / np.maximum(shares[0], 1e-12)
    for y, code in enumerate(chosen):
        for x, share in enumerate(shares[:, code]):
            depth = (
                0.0 if x == 0 else float(np.clip(np.log(max(lifts[x - 1, code], 1)) / np.log(_DARKEST), 0, 1))
            )
            if depth > 0:
                axes.fill_between([x - 0.5, x + 0.5], y - 0.5, y + 0.5, color=MORE(0.75 * depth), linewidth=0)
            words = "–" if share == 0 else "<1" if share < 0.005 else f"{100 * share:.0f}"
            colour = "white" if depth > 0.5 else INK
            axes.text(x, y, words, ha="center", va="center", fontsize=SMALL, color=colour)
    axes.axvline(0.5, color=FAINT, linewidth=0.6)
    axes.set(xlim=(-0.5, len(groups) - 0.5), xlabel=f"% of all, of each {noun.lower()}")
    axes.set_xticks(range(len(groups)), ["all", *(str(j + 1) for j in range(len(weights)))])
    axes.tick_params(length=0, labelleft=False)
    axes.spines[:].set_visible(False)
