"""Draws how long the texts of each slice are, and which words are common in them."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from weakspot.figures.style import BLUE, DARK_GREY, LIGHT_GREY, MID_GREY, SMALL, column_figure, style
from weakspot.figures.text_fitting import fit_line, text_width
from weakspot.findings import Findings, numbers
from weakspot.findings.text_lengths import measure_text_lengths
from weakspot.predictions import Predictions
from weakspot.slices import Slices

_WORDS = 1.1  # inches of each of two lines of words beside a slice


@style()
def lengths(
    findings: Findings, predictions: Predictions, slices: Slices, texts: Sequence[str], most: int = 8
) -> Figure:
    """Draw the mean length of the texts in every slice, in words, with its 95 % interval, and its distinctive words.

    Words are separated by spaces. The thick grey bar spans the middle half of the lengths.

    Args:
        findings: The findings, for the distinctive words of the slices.
        predictions: The predictions, whose counts weight the texts.
        slices: Slices of the same examples.
        texts: The text of each example.
        most: The maximum number of slices.

    Returns:
        The figure, a line for all texts and one for each slice.
    """
    groups = measure_text_lengths(findings, predictions, slices, texts, most)
    figure = column_figure(0.6 + 0.24 * len(groups))
    axes = figure.add_subplot()
    for y, one in enumerate(groups):
        if one.mean is None or one.quartiles is None:
            continue
        axes.plot(one.quartiles, [y, y], color=LIGHT_GREY, linewidth=4, solid_capstyle="butt", zorder=1)
        if one.mean.interval is not None:
            axes.plot(one.mean.interval, [y, y], color=BLUE, linewidth=1.2, solid_capstyle="butt")
        axes.plot(one.mean.inside, y, "o", color=BLUE, markersize=3.5)
    if groups[0].mean is not None:
        axes.axvline(groups[0].mean.inside, color=MID_GREY, linewidth=0.6, linestyle=":", zorder=0)
    names = [f"{one.name} ({numbers.count(one.size)})" for one in groups]
    axes.set(yticks=range(len(groups)), yticklabels=names, ylim=(len(groups) - 0.5, -0.5), ylabel="Texts")
    axes.set(xlabel="Words in a text: mean, 95 % interval, middle half")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=LIGHT_GREY, linewidth=0.4)
    axes.spines["left"].set_visible(False)
    place = axes.get_yaxis_transform()
    for y, one in enumerate(groups[1:], start=1):
        words = _two_lines(one.words)
        axes.text(
            1.03, y, words, transform=place, fontsize=SMALL, va="center", color=DARK_GREY, linespacing=1.05
        )
    return figure


def _two_lines(words: Sequence[str]) -> str:
    """Return as many words as two lines hold."""
    rows = [""]
    for word in words:
        longer = f"{rows[-1]}, {word}" if rows[-1] else word
        if text_width(longer, SMALL) <= _WORDS:
            rows[-1] = longer
        elif len(rows) == 1:
            rows[0] += ","
            rows.append(word)
        else:
            break
    return "\n".join(fit_line(row, _WORDS + 0.05, SMALL) for row in rows)
