"""Parts of the page that a reader unfolds: the first ones are in the markup, and later ones compressed beside it."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

_ENTRY = 12  # characters that the table needs for an anchor or a part, in addition to its name


@dataclass(frozen=True)
class _Part:
    """A compressed part.

    Attributes:
        packed: Its markup as base64 of gzip.
        names: The anchors inside it.
        inner: The numbers of the parts inside it.
        size: Characters that it takes, with its entries in the table.
    """

    packed: str
    names: Sequence[str]
    inner: Sequence[int]
    size: int


class FoldedParts:
    """Collects the parts of the page that are folded, so that the page of a run of any size opens at once.

    Call `open()` before the markup of a part is made, and `close(markup)` after it; parts may lie in one another. The
    first parts are in the page as they are, and can be read without the script. Once these have as many elements as
    they may have, a part is compressed, and the script inserts it when its <details> is opened or a link leads into it.
    If a part does not fit, the parts inside it are left out, too, because nobody could reach them.

    Args:
        elements: The maximum number of elements in all parts that stay in the markup.
        most: Characters that compressed parts may take; if one does not fit, the script says that it was left out.
    """

    def __init__(self, elements: int, most: int) -> None:
        self._most_elements = elements
        self._most = most
        self._elements = 0
        self._before: list[int] = []
        self._spent = 0
        self._parts: list[_Part | None] = []  # None: there was no room

    def open(self) -> str:
        """Begin a part; return an empty string, so that a template can call this."""
        self._before.append(self._elements)
        return ""

    def close(self, markup: str) -> int | None:
        """End the part that was opened last.

        Args:
            markup: The markup of the part, with the parts inside it.

        Returns:
            The number of the compressed part; None if the markup stays in the page.
        """
        before = self._before.pop()
        elements = before + markup.count("<") - markup.count("</")
        if elements <= self._most_elements:
            self._elements = elements
            return None
        self._elements = before
        return self.compress(markup)

    def compress(self, markup: str) -> int:
        """Compress a part, however short it is.

        Args:
            markup: The markup of the part, with the parts inside it.

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
        pending = list(numbers)
        while pending:  # a loop, because a tree may be deeper than the recursion limit
            number = pending.pop()
            part, self._parts[number] = self._parts[number], None
            if part is not None:
                self._spent -= part.size
                pending.extend(part.inner)

    def has(self, number: int) -> bool:
        """Return whether there was room for a part."""
        return self._parts[number] is not None

    @property
    def used(self) -> bool:
        """Whether any part is compressed."""
        return bool(self._parts)

    @property
    def full(self) -> bool:
        """Whether any part is left out."""
        return None in self._parts

    def table(self) -> str:
        """Return JSON of the compressed parts, and of the part that holds each anchor and each other part."""
        kept = [(number, part) for number, part in enumerate(self._parts) if part is not None]
        table = {
            "parts": [None if part is None else part.packed for part in self._parts],
            "holds": {name: number for number, part in kept for name in part.names},
            "within": {inside: number for number, part in kept for inside in part.inner},
        }
        return json.dumps(table, separators=(",", ":"))


def pack(content: str | bytes) -> str:
    """Return base64 of gzip, which `unpack` and `unpackBytes` of the script read."""
    plain = content.encode() if isinstance(content, str) else content
    return base64.b64encode(gzip.compress(plain, mtime=0)).decode()
