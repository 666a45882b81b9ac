"""What the explorer keeps of what was asked for last, so that the next page need not read it again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import RLock
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """Keeps the few values that were used last; any number of threads may use it.

    Args:
        size: How many are kept.
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
        """Return the value of a key, made now if it is not kept; other threads wait, so that none is made twice."""
        with self._lock:
            if key not in self._values:
                self.add(key, make())
            self._values.move_to_end(key)
            return self._values[key]

    def add(self, key: Key, value: Value) -> None:
        """Keep a value, and drop what was not used for longest where there are too many."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._size:
                self._values.popitem(last=False)

    def values(self) -> list[Value]:
        """Return what is kept, what was used last at the end."""
        with self._lock:
            return list(self._values.values())
