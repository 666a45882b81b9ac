"""Parts of the page that a reader opens: in the markup while it is short, and compressed beside it after that."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

_ENTRY = 12  # characters that the table needs for an anchor or a part, beside its name


@dataclass(frozen=True)
class _Part:
    """A compressed part: anchors and parts inside it, and characters that it takes with its entries in the table."""

    packed: str
    names: Sequence[str]
    inner: Sequence[int]
    size: int


class Folds:
    """Keeps what is folded away, so that a run of any size makes a page that opens at once.

    A part is folded by `opening()`, its markup, and `closing(markup)`; parts may lie in one another. The first ones
    stand in the page as they are, and can be read without script. Once these have as many elements as they may, a part
    is compressed, and the script puts it in when its <details> is opened or a link leads into it. Where a part has no
    room, neither have the parts inside it, which nobody could reach.

    Args:
        elements: How many the parts in the markup may have together.
        most: Characters that compressed parts may take; the script says of what does not fit that it was left out.
    """

    def __init__(self, elements: int, most: int) -> None:
        self._most_elements = elements
        self._most = most
        self._elements = 0
        self._before: list[int] = []
        self._spent = 0
        self._parts: list[_Part | None] = []  # None: there was no room

    def opening(self) -> str:
        """Begins a part; gives nothing to show."""
        self._before.append(self._elements)
        return ""

    def closing(self, markup: str) -> int | None:
        """Ends the part that was begun last.

        Args:
            markup: Of the part, with the parts inside it.

        Returns:
            The number of the compressed part; None where the markup is to stand in the page.
        """
        before = self._before.pop()
        elements = before + markup.count("<") - markup.count("</")
        if elements <= self._most_elements:
            self._elements = elements
            return None
        self._elements = before
        return self.apart(markup)

    def apart(self, markup: str) -> int:
        """Compresses markup, however little there is.

        Args:
            markup: Of the part, with the parts inside it.

        Returns:
            The part's number.
        """
        number = len(self._parts)
        inner = [int(part) for part in re.findall(r'data-part="(\d+)"', markup)]
        names = re.findall(r'\bid="([\w-]+)"', markup)
        packed = pack(markup)
        size = len(packed) + sum(len(name) + _ENTRY for name in names) + _ENTRY * len(inner)
        if self._spent + size > self._most:
            self._parts.append(None)
            self._leave_out(inner)
        else:
            self._parts.append(_Part(packed, names, inner, size))
            self._spent += size
        return number

    def _leave_out(self, numbers: Sequence[int]) -> None:
        waiting = list(numbers)
        while waiting:  # a tree may be deeper than calls may go
            number = waiting.pop()
            part, self._parts[number] = self._parts[number], None
            if part is not None:
                self._spent -= part.size
                waiting.extend(part.inner)

    def has(self, number: int) -> bool:
        """Whether there was room for a part."""
        return self._parts[number] is not None

    @property
    def used(self) -> bool:
        """Whether anything is compressed."""
        return bool(self._parts)

    @property
    def full(self) -> bool:
        """Whether anything is left out."""
        return None in self._parts

    def table(self) -> str:
        """JSON: the compressed parts; the part that an anchor lies in; the part that a part lies in."""
        kept = [(number, part) for number, part in enumerate(self._parts) if part is not None]
        table = {
            "parts": [None if part is None else part.packed for part in self._parts],
            "holds": {name: number for number, part in kept for name in part.names},
            "within": {inside: number for number, part in kept for inside in part.inner},
        }
        return json.dumps(table, separators=(",", ":"))


def pack(content: str | bytes) -> str:
    """Base64 of gzip, which `unpack` and `unpackBytes` of the script read."""
    plain = content.encode() if isinstance(content, str) else content
    return base64.b64encode(gzip.compress(plain, mtime=0)).decode()
