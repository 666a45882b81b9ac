"""Makes texts of any origin safe to store and show: bytes that are not UTF-8, control characters, any length."""

from __future__ import annotations

import hashlib
import logging
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

import regex

if TYPE_CHECKING:
    import numpy as np

LONGEST_VALUE = 200
"""The most characters shown of a value in a table, a sentence or a list; files hold all of it."""

LONGEST_TEXT = 2000
"""The most characters shown of a text, or of a field of a record, in an example."""

_SURROGATES = regex.compile(r"[\ud800-\udfff]")
_UNPRINTABLE = regex.compile(r"[\p{Cc}\p{Zl}\p{Zp}\u202A-\u202E\u2066-\u2069\ud800-\udfff]")


def as_utf8(text: str) -> str:
    r"""Return the text with escapes for bytes of a file name that are not UTF-8 (`caf\xe9.jpg`), and for surrogates.

    Python gives such bytes as lone surrogates, which neither Parquet nor a web page can hold.
    """
    escaped: str = _SURROGATES.sub(_escape, text)
    return escaped


def printable(text: str) -> str:
    r"""Return the text in a form that is safe to print on a terminal.

    Control characters, line breaks and marks that change the direction of text become escapes (`\x1b`, `\n`,
    `\u202e`): printed unchanged, they could move the cursor, hide text or rename the window.
    """
    escaped: str = _UNPRINTABLE.sub(_escape, text)
    return escaped


def row_name(row: int, ids: Sequence[object] | np.ndarray) -> str:
    """Return the name of a row in errors: its number and its id, which may be any text."""
    return f"row {row} (id {printable(str(ids[row]))})"


def direction_isolated(text: str) -> str:
    """Return the text for use in a sentence, whose direction it must not change.

    Marks that change the direction become escapes. Right-to-left text is wrapped in isolation marks (U+2068, U+2069),
    without which it would reorder the numbers beside it.
    """
    shown = printable(text)
    if any(unicodedata.bidirectional(character) in ("R", "AL", "AN") for character in shown):
        return f"\u2068{shown}\u2069"
    return shown


def printable_lines(text: str) -> str:
    """Return `printable` of each line of a text; line breaks stay, and tabs become spaces."""
    return "\n".join(map(printable, text.expandtabs(4).split("\n")))


def shortened(text: str, most: int = LONGEST_VALUE) -> str:
    """Return the text, or the start of a longer one with a digest that distinguishes values with the same start."""
    if len(text) <= most:
        return text
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{text[:most].rstrip()}… [{digest}]"


class LineFormatter(logging.Formatter):
    """Formats log records so that they can be printed on a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))


def _escape(match: regex.Match[str]) -> str:
    character: str = match[0]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte, as os.fsdecode gives it
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode()
