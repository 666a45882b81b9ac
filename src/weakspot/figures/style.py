"""The style of all figures, and the function that saves one: the same figure gives the same bytes."""

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
"""The width of a figure in inches: a column of a paper that has two."""

# Okabe and Ito's colours, which people with any colour vision can distinguish
BLUE, VERMILION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE, YELLOW = "#56B4E9", "#CC79A7", "#F0E442"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, YELLOW)
DARK_GREY, MID_GREY, LIGHT_GREY = "#222222", "#767676", "#DDDDDD"

SEQUENTIAL: Colormap = LinearSegmentedColormap.from_list("more", ["#D3E4EE", "#5B9BC4", "#0B4C86", "#041B3A"])
"""The colours of a quantity, from little to much."""

DIVERGING: Colormap = LinearSegmentedColormap.from_list(
    "either", ["#9A3B00", "#EE8B3B", "#EDEDED", "#6BA6D6", "#0A4A86"]
)
"""The colours of a quantity around a middle, from orange below it to blue above it."""

PERCENT = FuncFormatter(lambda share, _: f"{100 * share:.3g}{THIN}%")
"""The format of an axis of shares."""

SMALL = 5.5
"""The size in points of text beside the axes."""

_RC_PARAMS: Any = {
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
    "text.color": DARK_GREY,
    "axes.labelcolor": DARK_GREY,
    "axes.edgecolor": DARK_GREY,
    "xtick.color": DARK_GREY,
    "ytick.color": DARK_GREY,
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
_METADATA_WITHOUT_DATE: dict[str, dict[str, None]] = {
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
    "png": {},
}


@contextmanager
def style() -> Iterator[None]:
    """Give figures this style inside the block, or in a decorated function, whatever the user's own style is."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC_PARAMS)
        yield


def save(figure: Figure, file: str | Path) -> Path:
    """Save a figure; the same figure gives the same bytes.

    Text stays text: a PDF embeds its fonts (TrueType), and the viewer of an SVG sets it.

    Args:
        figure: A figure of this package.
        file: The file, whose ending is its format: .pdf, .png or .svg.

    Returns:
        The file.

    Raises:
        ValueError: If the file has another ending.
    """
    file = Path(file)
    kind = file.suffix[1:].lower()
    if kind not in FORMATS:
        raise ValueError(f"{file} does not end in a figure format; choose {', '.join(FORMATS)}")
    with style(), atomic_file(file) as draft:
        figure.savefig(draft, format=kind, metadata=_METADATA_WITHOUT_DATE[kind])
    return file


def column_figure(height: float) -> Figure:
    """Return an empty figure as wide as a column, whose axes leave each other room; the height is in inches."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02)
    return figure


def hide_axes(axes: Axes) -> None:
    """Remove frame and ticks of axes on which positions mean nothing."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
