"""Pickles read as data: a small machine for the few opcodes and names that results of the published tool hold.

A pickle is a program. Python's own reader runs it, and even one that admits few names can be made to hang or to
fill the memory (tuples that share their parts are hashed part by part, sizes are believed). This machine knows
plain values, NumPy arrays and torch's tensors; it stores what it is given, and does no more work and makes no
more than a small multiple of what the file holds. All else is refused.
"""

from __future__ import annotations

import io
import math
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from weakspot.predictions.npz import readable
from weakspot.predictions.reading import DamagedError, reading

_EXPANSION = (
    16  # times its own size that a file may hold, through arrays and lists that are referred to twice
)
_LONGEST_CODE = 20  # characters of a dtype
_DEEPEST = 50  # levels of lists and mappings
_LARGEST_KEY = 2**53
_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "|b1",
    "BFloat16Storage": "bfloat16",
}


class RefusedError(Exception):
    """What a pickle names or holds that no published result is made of."""


def load(path: Path, results: Mapping[str, tuple[str, ...]]) -> Any:
    """The value in a pickle, as plain values and arrays; objects as mappings of their attributes.

    Args:
        path: The file.
        results: Classes that may be named, with the modules they may be named in.

    Raises:
        DamagedError: Where it is damaged, names or holds anything else, or would take more than it has.
    """
    try:
        with reading(path):
            content = path.read_bytes()
            budget = _Budget(_EXPANSION * len(content) + 4096)
            found = _Machine(budget, _names(budget, results)).run(io.BytesIO(content))
            return _Plain(budget)(found)
    except DamagedError as error:
        if isinstance(error.__cause__, RefusedError):
            raise DamagedError(
                f"{path} {error.__cause__}; it was not loaded, for a pickle can run any code"
            ) from error
        raise DamagedError(f"{error}; it is damaged or no published result") from error


@dataclass
class _Budget:
    """What may still be made of a file, in bytes or values."""

    left: int

    def spend(self, amount: int) -> None:
        self.left -= amount
        if self.left < 0:
            raise ValueError("it announces or repeats far more than a file of its size holds")


class _Machine:
    """The stack and memo of Python's pickles."""

    def __init__(
        self,
        budget: _Budget,
        names: Callable[[str, str], Any],
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self.budget = budget
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
                _check(type(stack[-1]) is list, "appends to what is no list")
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
                _check(type(word) is str and type(module) is str, "names what is no name")
                stack.append(self.names(module, word))
            case "REDUCE" | "NEWOBJ":
                arguments, made = stack.pop(), stack.pop()
                _check(isinstance(made, _Name) and type(arguments) is tuple, "calls what cannot be called")
                stack.append(made.make(*arguments))
            case "BUILD":
                state = stack.pop()
                _check(isinstance(stack[-1], (_Object, _Array, _Dtype)), "gives a state to what has none")
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
        _check(type(target) is dict and len(items) % 2 == 0, "sets items of what is no mapping")
        for key, value in zip(items[::2], items[1::2], strict=True):
            parts = key if type(key) is tuple else (key,)
            _check(all(map(_is_key, parts)), "has a mapping by other than texts and numbers")
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


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(f"it {otherwise}")


def _is_key(value: Any) -> bool:
    """What is hashed at once, and not made so that all hashes are one."""
    if type(value) is int:
        return abs(value) < _LARGEST_KEY
    return value is None or type(value) in (str, bytes, bool, float)


@dataclass(frozen=True, eq=False)
class _Name:
    """A name that may be called, and what stands for it here."""

    make: Callable[..., Any]


class _Object:
    """A result: what it is built with are its attributes."""

    def __init__(self) -> None:
        self.attributes: dict[Any, Any] = {}

    def build(self, state: Any) -> None:
        _check(type(state) is dict, "has a result without names for its fields")
        self.attributes = state


@dataclass
class _Dtype:
    """Of numbers and text only."""

    dtype: np.dtype

    def build(self, state: Any) -> None:
        _check(type(state) is tuple and len(state) > 1, "has a type that is none")
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


@dataclass
class _Array:
    """A NumPy array: made empty, then told what it holds."""

    budget: _Budget
    array: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def build(self, state: Any) -> None:
        _check(type(state) is tuple and len(state) == 5, "has an array that is none")
        _, shape, dtype, fortran, data = state
        self.fill(data, dtype, shape, "F" if fortran else "C")

    def fill(self, data: Any, dtype: Any, shape: Any, order: str) -> _Array:
        _check(
            isinstance(dtype, _Dtype) and type(data) is bytes, "has an array of other than numbers and texts"
        )
        _check(_are_counts(shape), "has an array without a shape")
        wanted = math.prod(shape) * dtype.dtype.itemsize
        _check(wanted == len(data), f"announces an array of {wanted} bytes and holds {len(data)}")
        _check(dtype.dtype.itemsize > 0 or not math.prod(shape), "has texts of no characters")
        self.budget.spend(len(data))
        self.array = readable(
            np.frombuffer(data, dtype.dtype).reshape(shape, order="F" if order == "F" else "C")
        )
        return self


def _are_counts(values: Any) -> bool:
    return type(values) is tuple and all(type(value) is int and value >= 0 for value in values)


def _names(budget: _Budget, results: Mapping[str, tuple[str, ...]]) -> Callable[[str, str], Any]:
    """What may be named, and what stands for it."""

    def dtype(code: Any, *_: Any) -> _Dtype:
        _check(type(code) is str and len(code) <= _LONGEST_CODE, "has a type that is none")
        found = np.dtype(code)
        if found.kind not in "biufcSU":
            raise RefusedError(f"holds values of type {found}")
        return _Dtype(found)

    def scalar(of: Any, data: Any) -> _Array:
        return _Array(budget).fill(data, of, (), "C")

    def buffer(data: Any, of: Any, shape: Any, order: Any) -> _Array:
        return _Array(budget).fill(data, of, shape, order)

    def encode(text: Any, encoding: Any = "latin1") -> bytes:
        _check(type(text) is str and encoding == "latin1", "has bytes that are none")
        return bytes(text, "latin1")

    def storage(data: Any) -> np.ndarray:
        _check(type(data) is bytes, "has a tensor without numbers")
        budget.spend(len(data))
        return _read_storage(data, budget)

    def tensor(held: Any, offset: Any, size: Any, stride: Any, *_: Any) -> _Array:
        _check(isinstance(held, np.ndarray), "has a tensor without numbers")
        _check(
            _are_counts((offset,)) and _are_counts(size) and _are_counts(stride),
            "has a tensor without a shape",
        )
        return _Array(budget, _view(held, offset, size, stride, budget))

    def parameter(data: Any, *_: Any) -> _Array:
        _check(isinstance(data, _Array), "has a parameter without numbers")
        return _Array(budget, data.array)

    def hooks() -> dict[Any, Any]:
        return {}  # of a tensor, which has none

    admitted: Mapping[str, Callable[..., Any]] = {
        "collections.OrderedDict": hooks,
        "numpy.ndarray": lambda *_: _Array(budget),
        "numpy.dtype": dtype,
        "numpy.core.multiarray._reconstruct": lambda *_: _Array(budget),
        "numpy.core.multiarray.scalar": scalar,
        "numpy.core.numeric._frombuffer": buffer,
        "_codecs.encode": encode,
        "torch.storage._load_from_bytes": storage,
        "torch._utils._rebuild_tensor_v2": tensor,
        "torch._utils._rebuild_parameter": parameter,
    }

    def find(module: str, name: str) -> _Name:
        if module in results.get(name, ()):
            return _Name(_Object)
        # Old and new NumPy differ in the name of one module.
        make = admitted.get(f"{module.replace('numpy._core', 'numpy.core')}.{name}")
        if make is None:
            raise RefusedError(f"names {module}.{name}, of which no published result is made")
        return _Name(make)

    return find


def _view(
    held: np.ndarray, offset: int, size: tuple[int, ...], stride: tuple[int, ...], budget: _Budget
) -> np.ndarray:
    """The numbers of a tensor, copied out of its storage; no more of them than there are."""
    count = math.prod(size)
    if not count:
        return np.zeros(size, held.dtype)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    _check(last < len(held) and count <= len(held), "has a tensor that is larger than its storage")
    budget.spend(count * held.itemsize)
    steps = [step * held.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(held[offset:], size, steps).copy()


def _read_storage(data: bytes, budget: _Budget) -> np.ndarray:
    """A tensor's numbers as torch saves them within a pickle, (n,): four pickles, then the numbers."""

    def names(module: str, name: str) -> str:
        if module != "torch" or name not in _STORAGES:
            raise RefusedError(f"names {module}.{name} in a tensor")
        return _STORAGES[name]

    def persistent(found: Any) -> tuple[str, int]:
        _check(type(found) is tuple and len(found) in (5, 6) and found[0] == "storage", "has an odd tensor")
        _check(type(found[1]) is str and _are_counts((found[4],)), "has an odd tensor")
        return found[1], found[4]

    stream = io.BytesIO(data)
    for _ in ("magic number", "version", "system"):
        _Machine(budget, names).run(stream)
    found = _Machine(budget, names, persistent).run(stream)
    _check(type(found) is tuple and len(found) == 2, "has a tensor that is none")
    _Machine(budget, names).run(stream)  # keys of the storages, of which there is one
    code, count = found
    kind = np.dtype("<u2" if code == "bfloat16" else code)
    announced = int.from_bytes(stream.read(8), "little")
    rest = data[stream.tell() :]
    _check(
        announced == count and len(rest) == count * kind.itemsize,
        "has a tensor of another size than announced",
    )
    numbers = np.frombuffer(rest, kind)
    if code == "bfloat16":  # the upper half of a float32
        numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
    return numbers


class _Plain:
    """Values as plain ones and arrays; what is referred to twice is counted twice and made once."""

    def __init__(self, budget: _Budget) -> None:
        self.budget = budget
        self.made: dict[int, tuple[Any, int] | None] = {}

    def __call__(self, value: Any) -> Any:
        made, weight = self._plain(value, 0)
        self.budget.spend(weight)
        return made

    def _plain(self, value: Any, depth: int) -> tuple[Any, int]:
        """The value and how many there are in it."""
        if isinstance(value, _Object):
            value = value.attributes
        if isinstance(value, _Array):
            return value.array[()] if value.array.ndim == 0 else value.array, max(1, value.array.size)
        if type(value) is str:
            value.encode()  # half a surrogate pair is no text
        if not isinstance(value, (list, tuple, dict)):
            return (value if isinstance(value, (str, int, float, bytes, type(None))) else None), 1
        _check(depth < _DEEPEST, "is nested too deeply")
        if id(value) not in self.made:
            self.made[id(value)] = None
            items = value.values() if isinstance(value, dict) else value
            parts = [self._plain(item, depth + 1) for item in items]
            plain = [part for part, _ in parts]
            self.made[id(value)] = (
                dict(zip(map(str, value), plain, strict=True)) if isinstance(value, dict) else plain,
                1 + sum(weight for _, weight in parts),
            )
        found = self.made[id(value)]
        if found is None:
            raise ValueError("it holds a list that holds itself")
        return found
