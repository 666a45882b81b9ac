"""A cache of the values that were used last, so that the explorer's next page need not read them again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import RLock
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """A thread-safe cache of the values that were used last.

    Args:
        size: How many values are kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._lock = RLock()

    def get(self, key: Key) -> Value | None:
        """Return the value of a key, which counts as its use; None if it is not kept."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def get_or_make(self, key: Key, make: Callable[[], Value]) -> Value:
        """Return the value of a key, made now if it is not kept; other threads wait, so no value is made twice."""
        with self._lock:
            if key not in self._values:
                self.add(key, make())
            self._values.move_to_end(key)
            return self._values[key]

    def add(self, key: Key, value: Value) -> None:
        """Add a value, and drop the least recently used ones if there are too many."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._size:
                self._values.popitem(last=False)

    def values(self) -> list[Value]:
        """Return the values that are kept, the most recently used last."""
        with self._lock:
            return list(self._values.values())
