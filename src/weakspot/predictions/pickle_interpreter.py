"""An interpreter that reads a pickle as data, with a stack and memo like Python's own, and runs no code from it.

A pickle is a program, and Python's reader runs it. Even a reader that allows only a few names can be made to hang or
to fill the memory: it hashes shared parts of nested tuples again and again, and trusts the sizes that a file announces.
This interpreter stores the values of the pickle, and calls only the stand-ins that its caller gives for names.
"""

from __future__ import annotations

import io
import pickletools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_LARGEST_KEY = 2**53
_LONGEST_KEY = 16


class ForbiddenContentError(Exception):
    """Raised if a pickle names or holds anything that published results do not contain."""


class Buildable:
    """Base class of values whose state a pickle sets after it has created them (opcode BUILD)."""

    def build(self, state: Any) -> None:
        """Set the state that the pickle holds for this value."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class AllowedName:
    """Stands for a class or function that a pickle may call.

    Attributes:
        make: The function that is called in its place.
    """

    make: Callable[..., Any]


class PickleInterpreter:
    """Interprets the opcodes of a pickle on a stack and a memo, as Python's reader does.

    Args:
        names: Returns the stand-in for a module and a name in it; raises if the name is not allowed.
        persistent: Returns the value for a persistent id; if None, such ids are refused.
    """

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
        """Return the value of the pickle that begins at the stream's position, and leave the stream at its end.

        Raises:
            ValueError: The pickle is cut short or malformed.
            ForbiddenContentError: It holds an opcode or a name that is not allowed.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # about escapes in strings from Python 2
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
                self._pop_to_mark()
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(name == "NEWTRUE")
            case _ if name in _LITERAL_OPCODES:
                stack.append(argument)
            case "BYTEARRAY8":
                stack.append(bytes(argument))
            case "EMPTY_LIST" | "EMPTY_TUPLE" | "EMPTY_DICT":
                stack.append({"EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict}[name]())
            case "LIST":
                stack.append(self._pop_to_mark())
            case "TUPLE":
                stack.append(tuple(self._pop_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                parts = tuple(stack[-int(name[-1]) :])
                del stack[-len(parts) :]
                stack.append(parts)
            case "DICT":
                items = self._pop_to_mark()
                stack.append({})
                self._set_items(items)
            case "APPEND" | "APPENDS":
                items = [stack.pop()] if name == "APPEND" else self._pop_to_mark()
                check(type(stack[-1]) is list, "appends to something that is not a list")
                stack[-1].extend(items)
            case "SETITEM" | "SETITEMS":
                items = [stack.pop(), stack.pop()][::-1] if name == "SETITEM" else self._pop_to_mark()
                self._set_items(items)
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "GLOBAL":
                stack.append(self.names(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                attribute, module = stack.pop(), stack.pop()
                check(type(attribute) is str and type(module) is str, "has a name that is not a text")
                stack.append(self.names(module, attribute))
            case "REDUCE" | "NEWOBJ":
                arguments, name_to_call = stack.pop(), stack.pop()
                check(
                    isinstance(name_to_call, AllowedName) and type(arguments) is tuple,
                    "calls something that cannot be called",
                )
                stack.append(name_to_call.make(*arguments))
            case "BUILD":
                state = stack.pop()
                check(isinstance(stack[-1], Buildable), "sets the state of a value that has none")
                stack[-1].build(state)
            case "BINPERSID" if self.persistent is not None:
                stack.append(self.persistent(stack.pop()))
            case _:
                raise ForbiddenContentError(f"holds the opcode {name}, which no published result contains")

    def _pop_to_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        check(type(target) is dict and len(items) % 2 == 0, "sets items of something that is not a mapping")
        for key, value in zip(items[::2], items[1::2], strict=True):
            parts = key if type(key) is tuple else (key,)
            check(
                len(parts) <= _LONGEST_KEY and all(map(_is_key, parts)),
                "has a mapping whose keys are not texts or numbers",
            )
            target[key] = value


_LITERAL_OPCODES = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING"),
        *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
        *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
    )
)
"""Opcodes whose argument is the value."""


def check(condition: bool, otherwise: str) -> None:
    """Raise ValueError with the sentence "it {otherwise}" unless the condition holds."""
    if not condition:
        raise ValueError(f"it {otherwise}")


def _is_key(value: Any) -> bool:
    """Return whether a value is hashed in one step, and cannot be crafted so that all hashes collide."""
    if type(value) is int:
        return abs(value) < _LARGEST_KEY
    return value is None or type(value) in (str, bytes, bool, float)
