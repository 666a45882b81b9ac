"""Which classes come together, in the labels and in what is predicted: for tasks of several labels."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm, PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from weakspot.figures.lettering import line
from weakspot.figures.style import EITHER, MORE, QUIET, SMALL, sheet, style
from weakspot.findings import Findings

_NAME = 0.75  # inches of a class' name


@style()
def together(findings: Findings, most: int = 16) -> Figure:
    """How many examples have two classes both: by label below the diagonal, by prediction above it; and the difference.

    Where the difference is orange the model sees two classes together more often than they are, where it is blue
    less often: warm and cool as in the report.

    Args:
        findings: Of a task of several labels.
        most: How many classes are drawn, those that most examples have.

    Returns:
        The figure, a column wide.

    Raises:
        ValueError: If no two classes come together.
    """
    classes = findings.whole.classes
    if not findings.whole.pairs:
        raise ValueError("no two classes come together, so there is nothing to draw")
    shown = sorted(sorted(range(len(classes)), key=lambda i: (-classes[i].examples, i))[:most])
    both = _both(findings, shown)
    change = both.T - both
    figure = sheet(1.35 + 0.085 * len(shown))
    left, right = figure.subplots(1, 2, sharey=True)
    counts = left.imshow(
        np.where(np.eye(len(shown), dtype=bool), np.nan, both),
        cmap=MORE,
        norm=PowerNorm(0.5, 0, max(1.0, both.max())),
        aspect="auto",
    )
    changes = right.imshow(
        np.where(np.tri(len(shown), k=-1, dtype=bool), change, np.nan),
        cmap=EITHER.reversed(),
        norm=CenteredNorm(halfrange=max(1.0, change.max())),
        aspect="auto",
    )
    names = [line(classes[i].name, _NAME, SMALL) for i in shown]
    for axes, title in ((left, "labels \\ predictions"), (right, "predictions − labels")):
        axes.set_title(title, fontsize=6)
        axes.set_xticks(range(len(shown)), names, rotation=90, fontsize=SMALL)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("Class")
    left.set_yticks(range(len(shown)), names, fontsize=SMALL)
    left.set_ylabel("Class" if len(shown) == len(classes) else f"{len(shown)} of {len(classes)} classes")
    _bar(figure, left, counts, "Examples with both")
    _bar(figure, right, changes, "Difference, in examples")
    return figure


def _both(findings: Findings, shown: list[int]) -> Float[np.ndarray, "k k"]:
    """By label below the diagonal, by prediction above it."""
    place = {position: at for at, position in enumerate(shown)}
    found = np.zeros((len(shown), len(shown)))
    for pair in findings.whole.pairs:
        if pair.first in place and pair.second in place:
            first, second = place[pair.first], place[pair.second]
            found[second, first], found[first, second] = pair.labels, pair.predictions
    return found


def _bar(figure: Figure, axes: Axes, image: AxesImage, label: str) -> None:
    bar = figure.colorbar(image, ax=axes, location="bottom", aspect=22, pad=0.03)
    bar.set_label(label, fontsize=SMALL, color=QUIET)
    bar.locator = MaxNLocator(3)
    bar.ax.tick_params(labelsize=SMALL)
    bar.outline.set_visible(False)
