"""Figures for papers, a column wide: what was found, drawn by matplotlib (`pip install "weakspot[figures]"`)."""

try:
    import matplotlib  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(
        'figures are drawn by matplotlib, which is not installed: pip install "weakspot[figures]"'
    ) from error

from weakspot.figures.accuracies import accuracies
from weakspot.figures.all_figures import draw, make_figures
from weakspot.figures.co_occurrence import co_occurrence
from weakspot.figures.lengths import lengths
from weakspot.figures.members import members
from weakspot.figures.space import space
from weakspot.figures.style import FORMATS, save
from weakspot.figures.tree import silhouettes, tree
from weakspot.figures.values import values

__all__ = [
    "FORMATS",
    "accuracies",
    "co_occurrence",
    "draw",
    "lengths",
    "make_figures",
    "members",
    "save",
    "silhouettes",
    "space",
    "tree",
    "values",
]
