"""How long the texts of each slice are, and which words are common in them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from weakspot.evaluation.contrasts import loss_contrast
from weakspot.figures.lettering import line, width
from weakspot.figures.style import BLUE, FAINT, INK, QUIET, SMALL, sheet, style
from weakspot.findings import Findings, numbers
from weakspot.methods.registry import audit_of
from weakspot.predictions import Predictions
from weakspot.slices import Slices

_WORDS = 1.1  # inches of words beside each slice, in two lines


@style()
def lengths(
    findings: Findings, predictions: Predictions, slices: Slices, texts: Sequence[str], most: int = 8
) -> Figure:
    """The mean length of the texts in every slice, in words, with its 95 % interval, and its distinctive words.

    Words are what blanks part. The thin bar spans the middle half of the lengths.

    Args:
        findings: What is said of the slices; their words are from here.
        predictions: The record, whose counts weigh.
        slices: Of the same examples.
        texts: What is written in each.
        most: How many slices are shown, at most.

    Returns:
        The figure, a line for all texts and one for each slice.
    """
    audited = audit_of(slices, predictions)
    rows = np.flatnonzero(audited.rows)
    counts = np.ones(len(rows)) if predictions.counts is None else predictions.counts[rows].astype(np.float64)
    long = np.array([len(texts[row].split()) for row in rows.tolist()], dtype=np.float64)
    shown = findings.slices[:most]
    masses = [counts, *(counts * np.asarray(slices.weights[one.number - 1])[rows] for one in shown)]
    figure = sheet(0.6 + 0.24 * len(masses))
    axes = figure.add_subplot()
    for y, mass in enumerate(masses):
        if mass.sum() <= 0:
            continue
        mean = loss_contrast(long, mass, counts - mass, None)
        axes.plot(_quartiles(long, mass), [y, y], color=FAINT, linewidth=4, solid_capstyle="butt", zorder=1)
        if mean.interval is not None:
            axes.plot(mean.interval, [y, y], color=BLUE, linewidth=1.2, solid_capstyle="butt")
        axes.plot(mean.inside, y, "o", color=BLUE, markersize=3.5)
    axes.axvline(float(np.average(long, weights=counts)), color=QUIET, linewidth=0.6, linestyle=":", zorder=0)
    names = [f"all ({numbers.count(float(counts.sum()))})"]
    names += [
        f"{one.name} ({numbers.count(float(mass.sum()))})"
        for one, mass in zip(shown, masses[1:], strict=True)
    ]
    axes.set(yticks=range(len(masses)), yticklabels=names, ylim=(len(masses) - 0.5, -0.5), ylabel="Texts")
    axes.set(xlabel="Words in a text: mean, 95 % interval, middle half")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=FAINT, linewidth=0.4)
    axes.spines["left"].set_visible(False)
    place = axes.get_yaxis_transform()
    for y, one in enumerate(shown, start=1):
        words = _two_lines([word.text for word in one.portrait.words])
        axes.text(1.03, y, words, transform=place, fontsize=SMALL, va="center", color=INK, linespacing=1.05)
    return figure


def _two_lines(words: Sequence[str]) -> str:
    """As many words as two lines hold."""
    rows = [""]
    for word in words:
        longer = f"{rows[-1]}, {word}" if rows[-1] else word
        if width(longer, SMALL) <= _WORDS:
            rows[-1] = longer
        elif len(rows) == 1:
            rows[0] += ","
            rows.append(word)
        else:
            break
    return "\n".join(line(row, _WORDS + 0.05, SMALL) for row in rows)


def _quartiles(values: np.ndarray, mass: np.ndarray) -> list[float]:
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(mass[order]) / mass.sum()
    places = np.minimum(np.searchsorted(reached, [0.25, 0.75]), len(values) - 1)
    return [float(value) for value in values[order[places]]]
