"""A machine that reads a pickle as data: the stack and memo of Python's own, without running anything.

A pickle is a program. Python's reader runs it, and even one that admits few names can be made to hang or to fill
the memory: tuples that share their parts are hashed part by part, sizes are believed. This machine stores what
it is given, and calls only what it is given for the names that it meets.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_LARGEST_KEY = 2**53
_LONGEST_KEY = 16


class RefusedError(Exception):
    """What a pickle names or holds that no published result is made of."""


class Buildable:
    """What a pickle makes first and gives its state then."""

    def build(self, state: Any) -> None:
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Name:
    """A name that may be called, and what stands for it here."""

    make: Callable[..., Any]


class Machine:
    """The stack and memo of Python's pickles."""

    def __init__(
        self,
        names: Callable[[str, str], Any],
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self.names = names
        self.persistent = persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, stream: io.BytesIO) -> Any:
        """The value of the pickle that starts where the stream stands; the stream stands at its end then."""
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "STOP":
                return self.stack.pop()
            self._step(opcode.name, argument)
        raise ValueError("it is cut short")

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        match name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                self.marks.append(len(stack))
            case "POP":
                stack.pop()
            case "POP_MARK":
                self._marked()
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(name == "NEWTRUE")
            case _ if name in _PLAIN:
                stack.append(argument)
            case "BYTEARRAY8":
                stack.append(bytes(argument))
            case "EMPTY_LIST" | "EMPTY_TUPLE" | "EMPTY_DICT":
                stack.append({"EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict}[name]())
            case "LIST":
                stack.append(self._marked())
            case "TUPLE":
                stack.append(tuple(self._marked()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                parts = tuple(stack[-int(name[-1]) :])
                del stack[-len(parts) :]
                stack.append(parts)
            case "DICT":
                items = self._marked()
                stack.append({})
                self._set(items)
            case "APPEND" | "APPENDS":
                items = [stack.pop()] if name == "APPEND" else self._marked()
                check(type(stack[-1]) is list, "appends to what is no list")
                stack[-1].extend(items)
            case "SETITEM" | "SETITEMS":
                items = [stack.pop(), stack.pop()][::-1] if name == "SETITEM" else self._marked()
                self._set(items)
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "GLOBAL":
                stack.append(self.names(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                word, module = stack.pop(), stack.pop()
                check(type(word) is str and type(module) is str, "names what is no name")
                stack.append(self.names(module, word))
            case "REDUCE" | "NEWOBJ":
                arguments, made = stack.pop(), stack.pop()
                check(isinstance(made, Name) and type(arguments) is tuple, "calls what cannot be called")
                stack.append(made.make(*arguments))
            case "BUILD":
                state = stack.pop()
                check(isinstance(stack[-1], Buildable), "gives a state to what has none")
                stack[-1].build(state)
            case "BINPERSID" if self.persistent is not None:
                stack.append(self.persistent(stack.pop()))
            case _:
                raise RefusedError(f"holds the opcode {name}, of which no published result is made")

    def _marked(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        check(type(target) is dict and len(items) % 2 == 0, "sets items of what is no mapping")
        for key, value in zip(items[::2], items[1::2], strict=True):
            parts = key if type(key) is tuple else (key,)
            check(
                len(parts) <= _LONGEST_KEY and all(map(_is_key, parts)),
                "has a mapping by other than texts and numbers",
            )
            target[key] = value


_PLAIN = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING"),
        *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
        *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
    )
)
"""Opcodes whose argument is the value."""


def check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(f"it {otherwise}")


def _is_key(value: Any) -> bool:
    """What is hashed at once, and not made so that all hashes are one."""
    if type(value) is int:
        return abs(value) < _LARGEST_KEY
    return value is None or type(value) in (str, bytes, bool, float)
