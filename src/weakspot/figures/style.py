"""How all figures look, and how one becomes a file: the same bytes for the same figure, its text kept as text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from weakspot.findings.numbers import THIN
from weakspot.predictions.atomic_files import atomic_file

FORMATS = ("pdf", "png", "svg")

WIDTH = 3.3
"""Inches: a column of a paper of two."""

# Okabe and Ito's colours, which people of every colour vision tell apart
BLUE, VERMILION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE, YELLOW = "#56B4E9", "#CC79A7", "#F0E442"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, YELLOW)
INK, QUIET, FAINT = "#222222", "#767676", "#DDDDDD"

MORE: Colormap = LinearSegmentedColormap.from_list("more", ["#D3E4EE", "#5B9BC4", "#0B4C86", "#041B3A"])
"""Of a quantity from little to much."""

EITHER: Colormap = LinearSegmentedColormap.from_list(
    "either", ["#9A3B00", "#EE8B3B", "#EDEDED", "#6BA6D6", "#0A4A86"]
)
"""From one side, orange, over neither to the other, blue."""

PERCENT = FuncFormatter(lambda share, _: f"{100 * share:.3g}{THIN}%")
"""Of an axis of shares."""

SMALL = 5.5
"""Points: of what stands in a figure beside its axes."""

_LOOK: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 6.5,
    "axes.titlesize": 6.5,
    "axes.labelsize": 6.5,
    "xtick.labelsize": 6,
    "ytick.labelsize": 6,
    "legend.fontsize": 6,
    "legend.frameon": False,
    "legend.handletextpad": 0.4,
    "legend.columnspacing": 1.2,
    "axes.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
    "text.hinting": "none",  # letters are as wide in an image as in a PDF
    "text.parse_math": False,  # a class may be called $1
    "figure.dpi": 200,
    "savefig.dpi": 400,
    "pdf.fonttype": 42,  # text that can be searched, and that journals accept
    "svg.fonttype": "none",
    "svg.hashsalt": "weakspot",
}
_NO_DATE: dict[str, dict[str, None]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}


@contextmanager
def style() -> Iterator[None]:
    """Inside the block, or in a function decorated by it, figures look like this, whatever a person's own style is."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_LOOK)
        yield


def save(figure: Figure, file: str | Path) -> Path:
    """Write a figure; the same one gives the same bytes.

    Text stays text: in a PDF its fonts are embedded whole letters (TrueType), in an SVG a viewer sets it.

    Args:
        figure: Any of this package's.
        file: Where to; its ending says the format: .pdf, .png or .svg.

    Returns:
        The file.

    Raises:
        ValueError: If the ending is another.
    """
    file = Path(file)
    kind = file.suffix[1:].lower()
    if kind not in FORMATS:
        raise ValueError(f"{file} ends in no format of figures; choose {', '.join(FORMATS)}")
    with style(), atomic_file(file) as draft:
        figure.savefig(draft, format=kind, metadata=_NO_DATE[kind])
    return file


def sheet(height: float) -> Figure:
    """An empty figure as wide as a column, whose axes leave each other room."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02)
    return figure


def bare(axes: Axes) -> None:
    """Take an axis' frame and ticks away, where places on it say nothing."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
