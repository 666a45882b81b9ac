"""Draws which classes occur together, by labels and by predictions, for multilabel tasks."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm, PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from weakspot.figures.style import DIVERGING, MID_GREY, SEQUENTIAL, SMALL, column_figure, style
from weakspot.figures.text_fitting import fit_line
from weakspot.findings import Findings

_NAME = 0.75  # inches that the name of a class may take


@style()
def co_occurrence(findings: Findings, most: int = 16) -> Figure:
    """Draw how many examples have both of two classes, by label below the diagonal and by prediction above it.

    The difference is drawn beside it: orange if the model predicts two classes together more often than they occur
    together, blue if less often. The report uses warm and cool colours in the same way.

    Args:
        findings: Findings of a multilabel task.
        most: The maximum number of classes; the most frequent ones are drawn.

    Returns:
        The figure, a column wide.

    Raises:
        ValueError: If no two classes occur together.
    """
    classes = findings.whole.classes
    if not findings.whole.pairs:
        raise ValueError("no two classes come together, so there is nothing to draw")
    shown = sorted(sorted(range(len(classes)), key=lambda i: (-classes[i].examples, i))[:most])
    both = _count_pairs(findings, shown)
    change = both.T - both
    figure = column_figure(1.35 + 0.085 * len(shown))
    left, right = figure.subplots(1, 2, sharey=True)
    counts = left.imshow(
        np.where(np.eye(len(shown), dtype=bool), np.nan, both),
        cmap=SEQUENTIAL,
        norm=PowerNorm(0.5, 0, max(1.0, both.max())),
        aspect="auto",
    )
    changes = right.imshow(
        np.where(np.tri(len(shown), k=-1, dtype=bool), change, np.nan),
        cmap=DIVERGING.reversed(),
        norm=CenteredNorm(halfrange=max(1.0, change.max())),
        aspect="auto",
    )
    names = [fit_line(classes[i].name, _NAME, SMALL) for i in shown]
    for axes, title in ((left, "labels \\ predictions"), (right, "predictions − labels")):
        axes.set_title(title, fontsize=6)
        axes.set_xticks(range(len(shown)), names, rotation=90, fontsize=SMALL)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("Class")
    left.set_yticks(range(len(shown)), names, fontsize=SMALL)
    left.set_ylabel("Class" if len(shown) == len(classes) else f"{len(shown)} of {len(classes)} classes")
    _add_colour_bar(figure, left, counts, "Examples with both")
    _add_colour_bar(figure, right, changes, "Difference, in examples")
    return figure


def _count_pairs(findings: Findings, shown: list[int]) -> Float[np.ndarray, "k k"]:
    """Count examples that have both of two classes, by label below the diagonal and by prediction above it."""
    place = {position: i for i, position in enumerate(shown)}
    counts = np.zeros((len(shown), len(shown)))
    for pair in findings.whole.pairs:
        if pair.first in place and pair.second in place:
            first, second = place[pair.first], place[pair.second]
            counts[second, first], counts[first, second] = pair.labels, pair.predictions
    return counts


def _add_colour_bar(figure: Figure, axes: Axes, image: AxesImage, label: str) -> None:
    bar = figure.colorbar(image, ax=axes, location="bottom", aspect=22, pad=0.03)
    bar.set_label(label, fontsize=SMALL, color=MID_GREY)
    bar.locator = MaxNLocator(3)
    bar.ax.tick_params(labelsize=SMALL)
    bar.outline.set_visible(False)
