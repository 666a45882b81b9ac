"""Words as wide as they are: any text as the figures' font can show it, cut and wrapped to inches."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font

from weakspot.legible import printable

_LACKING = "□"
_UNIT = 1000.0  # points at which letters are measured


def line(text: object, inches: float, points: float) -> str:
    """Any text in one line, cut with an ellipsis where it would be wider; a box stands for what the font lacks."""
    words = _shown(str(text))
    if _measured(words, points) <= inches:
        return words
    return words[: _longest(words, inches - _measured("…", points), points)].rstrip() + "…"


def lines(text: object, inches: float, points: float, most: int) -> list[str]:
    """Any text in at most so many lines, parted at blanks where there are any."""
    rest = _shown(str(text))
    found: list[str] = []
    while rest:
        if len(found) == most - 1 or _measured(rest, points) <= inches:
            return [*found, line(rest, inches, points)]
        end = max(_longest(rest, inches, points), 1)
        blank = rest.rfind(" ", 1, end + 1)
        end = blank if blank > 0 else end
        found.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return found


def _longest(text: str, inches: float, points: float) -> int:
    """How many characters are no wider than that."""
    reached = 0.0
    for at, letter in enumerate(text):
        reached += _measured(letter, points)
        if reached > inches:
            return at
    return len(text)


def width(text: object, points: float) -> float:
    """Inches of a text in one line, to within the kerning of letters."""
    return _measured(_shown(str(text)), points)


def _measured(shown: str, points: float) -> float:
    return sum(map(_advance, shown)) * points / 72


def _shown(text: str) -> str:
    known = _font().get_char_index
    return "".join(letter if known(ord(letter)) else _LACKING for letter in printable(" ".join(text.split())))


@cache
def _advance(letter: str) -> float:
    """How wide a character is, as a share of the font's size."""
    return float(_font().load_char(ord(letter)).linearHoriAdvance) / 65536 / _UNIT


@cache
def _font() -> FT2Font:
    font = FT2Font(
        Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    )  # it comes with matplotlib
    font.set_size(_UNIT, 72)
    return font
