"""Pickles of the published tool, read as data: plain values, NumPy arrays, torch's tensors, and nothing else.

No more is made of a file than a small multiple of what it holds. All else is refused.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from weakspot.predictions.npz import readable
from weakspot.predictions.pickle_machine import Buildable, Machine, Name, RefusedError, check
from weakspot.predictions.reading import DamagedError, reading

_EXPANSION = (
    16  # times its own size that a file may hold, through arrays and lists that are referred to twice
)
_LONGEST_CODE = 20  # characters of a dtype
_DEEPEST = 50  # levels of lists and mappings
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
            found = Machine(_names(budget, results)).run(io.BytesIO(content))
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


class _Object(Buildable):
    """A result: what it is built with are its attributes."""

    def __init__(self) -> None:
        self.attributes: dict[Any, Any] = {}

    def build(self, state: Any) -> None:
        check(type(state) is dict, "has a result without names for its fields")
        self.attributes = state


@dataclass
class _Dtype(Buildable):
    """Of numbers and text only."""

    dtype: np.dtype

    def build(self, state: Any) -> None:
        check(type(state) is tuple and len(state) > 1, "has a type that is none")
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


@dataclass
class _Array(Buildable):
    """A NumPy array: made empty, then told what it holds."""

    budget: _Budget
    array: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def build(self, state: Any) -> None:
        check(type(state) is tuple and len(state) == 5, "has an array that is none")
        _, shape, dtype, fortran, data = state
        self.fill(data, dtype, shape, "F" if fortran else "C")

    def fill(self, data: Any, dtype: Any, shape: Any, order: str) -> _Array:
        check(
            isinstance(dtype, _Dtype) and type(data) is bytes, "has an array of other than numbers and texts"
        )
        check(_are_counts(shape), "has an array without a shape")
        wanted = math.prod(shape) * dtype.dtype.itemsize
        check(wanted == len(data), f"announces an array of {wanted} bytes and holds {len(data)}")
        check(dtype.dtype.itemsize > 0 or not math.prod(shape), "has texts of no characters")
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
        check(type(code) is str and len(code) <= _LONGEST_CODE, "has a type that is none")
        found = np.dtype(code)
        if found.kind not in "biufcSU":
            raise RefusedError(f"holds values of type {found}")
        return _Dtype(found)

    def scalar(of: Any, data: Any) -> _Array:
        return _Array(budget).fill(data, of, (), "C")

    def buffer(data: Any, of: Any, shape: Any, order: Any) -> _Array:
        return _Array(budget).fill(data, of, shape, order)

    def encode(text: Any, encoding: Any = "latin1") -> bytes:
        check(type(text) is str and encoding == "latin1", "has bytes that are none")
        return bytes(text, "latin1")

    def storage(data: Any) -> np.ndarray:
        check(type(data) is bytes, "has a tensor without numbers")
        budget.spend(len(data))
        return _read_storage(data)

    def tensor(held: Any, offset: Any, size: Any, stride: Any, *_: Any) -> _Array:
        check(isinstance(held, np.ndarray), "has a tensor without numbers")
        check(
            _are_counts((offset,)) and _are_counts(size) and _are_counts(stride),
            "has a tensor without a shape",
        )
        return _Array(budget, _view(held, offset, size, stride, budget))

    def parameter(data: Any, *_: Any) -> _Array:
        check(isinstance(data, _Array), "has a parameter without numbers")
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

    def find(module: str, name: str) -> Name:
        if module in results.get(name, ()):
            return Name(_Object)
        # Old and new NumPy differ in the name of one module.
        make = admitted.get(f"{module.replace('numpy._core', 'numpy.core')}.{name}")
        if make is None:
            raise RefusedError(f"names {module}.{name}, of which no published result is made")
        return Name(make)

    return find


def _view(
    held: np.ndarray, offset: int, size: tuple[int, ...], stride: tuple[int, ...], budget: _Budget
) -> np.ndarray:
    """The numbers of a tensor, copied out of its storage; no more of them than there are."""
    count = math.prod(size)
    if not count:
        return np.zeros(size, held.dtype)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    check(last < len(held) and count <= len(held), "has a tensor that is larger than its storage")
    budget.spend(count * held.itemsize)
    steps = [step * held.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(held[offset:], size, steps).copy()


def _read_storage(data: bytes) -> np.ndarray:
    """A tensor's numbers as torch saves them within a pickle, (n,): four pickles, then the numbers."""

    def names(module: str, name: str) -> str:
        if module != "torch" or name not in _STORAGES:
            raise RefusedError(f"names {module}.{name} in a tensor")
        return _STORAGES[name]

    def persistent(found: Any) -> tuple[str, int]:
        check(type(found) is tuple and len(found) in (5, 6) and found[0] == "storage", "has an odd tensor")
        check(type(found[1]) is str and _are_counts((found[4],)), "has an odd tensor")
        return found[1], found[4]

    stream = io.BytesIO(data)
    for _ in ("magic number", "version", "system"):
        Machine(names).run(stream)
    found = Machine(names, persistent).run(stream)
    check(type(found) is tuple and len(found) == 2, "has a tensor that is none")
    Machine(names).run(stream)  # keys of the storages, of which there is one
    code, count = found
    kind = np.dtype("<u2" if code == "bfloat16" else code)
    announced = int.from_bytes(stream.read(8), "little")
    rest = data[stream.tell() :]
    check(
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
        check(depth < _DEEPEST, "is nested too deeply")
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
