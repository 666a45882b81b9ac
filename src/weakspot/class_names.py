"""The order of classes that are known only by their names, which may be numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", re.IGNORECASE)


def class_names(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct labels, in the order in which classes are numbered if no order is given.

    Names are sorted; if all of them are numbers, they are sorted by value, so that "2.0" comes before "10.0" and
    class indices written as text keep their order.

    Example:
        >>> class_names(["10", "2", "2"])
        ('2', '10')
    """
    names = set(labels)
    if all(is_number(name) for name in names):
        return tuple(sorted(names, key=lambda name: (Decimal(name), name)))  # 1 and 01 are two classes
    return tuple(sorted(names))


def is_number(text: str) -> bool:
    """Return whether a string is a finite number in decimal notation."""
    return _NUMBER.fullmatch(text) is not None
