"""Texts from anywhere, as they can be stored and shown: file names that are no UTF-8, control characters."""

from __future__ import annotations

import logging

import regex

_HALVES = regex.compile(r"[\ud800-\udfff]")
_UNSEEN = regex.compile(r"[\p{Cc}\p{Zl}\p{Zp}\u202A-\u202E\u2066-\u2069\ud800-\udfff]")


def as_utf8(text: str) -> str:
    r"""The text with a sign for each byte of a file name that is no UTF-8 (`caf\xe9.jpg`), and for half characters.

    Python gives such bytes as lone surrogates, which neither Parquet nor a web page can hold.
    """
    whole: str = _HALVES.sub(_sign, text)
    return whole


def printable(text: str) -> str:
    r"""The text as it can be printed on a terminal, whatever is in it.

    Control characters, line breaks and marks that turn the direction of what follows are written as signs
    (`\x1b`, `\n`, `\u202e`): printed as they are, they could move the cursor, hide text or rename the window.
    """
    shown: str = _UNSEEN.sub(_sign, text)
    return shown


def printable_lines(text: str) -> str:
    """The same, of a text of several lines, in which tabs are blanks."""
    return "\n".join(map(printable, text.expandtabs(4).split("\n")))


class LineFormatter(logging.Formatter):
    """Of all that is logged, to a terminal or to a file that is read on one."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))


def _sign(found: regex.Match[str]) -> str:
    character: str = found[0]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte, as os.fsdecode gives it
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode()
