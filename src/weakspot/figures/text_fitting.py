"""Fits text to a width in inches: cuts and wraps it, and replaces letters that the figures' font lacks."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font

from weakspot.legible import printable

_LACKING = "□"  # stands for a letter that the font lacks
_UNIT = 1000.0  # points at which letters are measured


def fit_line(text: object, inches: float, points: float) -> str:
    """Return any text in one line, cut with an ellipsis if it would be wider.

    Args:
        text: The text; a box stands for each letter that the font lacks.
        inches: The maximum width.
        points: The size of the font.
    """
    shown = _drawable(str(text))
    if _inches(shown, points) <= inches:
        return shown
    return shown[: _letters_that_fit(shown, inches - _inches("…", points), points)].rstrip() + "…"


def wrap_lines(text: object, inches: float, points: float, most: int) -> list[str]:
    """Wrap any text at spaces, or between letters if there are none.

    Args:
        text: The text; a box stands for each letter that the font lacks.
        inches: The maximum width of a line.
        points: The size of the font.
        most: The maximum number of lines; the last one is cut with an ellipsis.
    """
    rest = _drawable(str(text))
    found: list[str] = []
    while rest:
        if len(found) == most - 1 or _inches(rest, points) <= inches:
            return [*found, fit_line(rest, inches, points)]
        end = max(_letters_that_fit(rest, inches, points), 1)
        blank = rest.rfind(" ", 1, end + 1)
        end = blank if blank > 0 else end
        found.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return found


def _letters_that_fit(text: str, inches: float, points: float) -> int:
    """Return how many characters fit into so many inches."""
    width = 0.0
    for position, letter in enumerate(text):
        width += _inches(letter, points)
        if width > inches:
            return position
    return len(text)


def text_width(text: object, points: float) -> float:
    """Return the width in inches of a text in one line, without the kerning of letters."""
    return _inches(_drawable(str(text)), points)


def _inches(shown: str, points: float) -> float:
    return sum(map(_letter_width, shown)) * points / 72


def _drawable(text: str) -> str:
    """Return the text as it is drawn: in one line, without control characters, with a box for what the font lacks."""
    known = _font().get_char_index
    return "".join(letter if known(ord(letter)) else _LACKING for letter in printable(" ".join(text.split())))


@cache
def _letter_width(letter: str) -> float:
    """Return the width of a character as a share of the font's size."""
    return float(_font().load_char(ord(letter)).linearHoriAdvance) / 65536 / _UNIT


@cache
def _font() -> FT2Font:
    font = FT2Font(
        Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    )  # it comes with matplotlib
    font.set_size(_UNIT, 72)
    return font
