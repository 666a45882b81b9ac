"""Reads the published tool's pickles as data: plain values, NumPy arrays and torch tensors.

Everything else is refused, and a file cannot make the reader allocate more than a small multiple of the file's size.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from weakspot.legible import printable
from weakspot.predictions.npz import decode_array
from weakspot.predictions.pickle_interpreter import (
    AllowedName,
    Buildable,
    ForbiddenContentError,
    PickleInterpreter,
    check,
)
from weakspot.predictions.reading import DamagedError, reading

# A file may hold this many times its own size, because it may refer to an array or a list repeatedly.
_EXPANSION = 16
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


def read_pickle(path: Path, results: Mapping[str, tuple[str, ...]]) -> Any:
    """Return the content of a pickle as plain values and arrays, with objects as mappings of their attributes.

    Args:
        path: The file.
        results: The classes that the pickle may name, each with the modules that may contain it.

    Raises:
        DamagedError: The file is damaged, names or holds anything else, or announces more than it holds.
    """
    try:
        with reading(path):
            content = path.read_bytes()
            budget = _SizeBudget(_EXPANSION * len(content) + 4096)
            value = PickleInterpreter(_allowed_names(budget, results)).run(io.BytesIO(content))
            return _PlainValues(budget)(value)
    except DamagedError as error:
        if isinstance(error.__cause__, ForbiddenContentError):
            raise DamagedError(
                f"{path} {error.__cause__}; it was not loaded, because a pickle can run any code"
            ) from error
        raise DamagedError(f"{error}; it is damaged or not a published result") from error


@dataclass
class _SizeBudget:
    """Counts how many more bytes or values a file may produce."""

    left: int

    def spend(self, amount: int) -> None:
        self.left -= amount
        if self.left < 0:
            raise ValueError("it announces or repeats far more than a file of its size holds")


class _ResultObject(Buildable):
    """Stands for an object of one of the tool's result classes; its state holds its attributes."""

    def __init__(self) -> None:
        self.attributes: dict[Any, Any] = {}

    def build(self, state: Any) -> None:
        check(type(state) is dict, "has a result without field names")
        self.attributes = state


@dataclass
class _Dtype(Buildable):
    """Stands for a NumPy dtype of numbers or texts."""

    dtype: np.dtype

    def build(self, state: Any) -> None:
        check(type(state) is tuple and len(state) > 1, "has an invalid type")
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


@dataclass
class _Array(Buildable):
    """Stands for a NumPy array, which a pickle creates empty and fills afterwards."""

    budget: _SizeBudget
    array: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def build(self, state: Any) -> None:
        check(type(state) is tuple and len(state) == 5, "has an invalid array")
        _, shape, dtype, fortran, data = state
        self.fill(data, dtype, shape, "F" if fortran else "C")

    def fill(self, data: Any, dtype: Any, shape: Any, order: str) -> _Array:
        check(isinstance(dtype, _Dtype) and type(data) is bytes, "has an array of neither numbers nor texts")
        check(_are_counts(shape), "has an array without a shape")
        wanted = math.prod(shape) * dtype.dtype.itemsize
        check(wanted == len(data), f"announces an array of {wanted} bytes and holds {len(data)}")
        check(dtype.dtype.itemsize > 0 or not math.prod(shape), "has texts of no characters")
        self.budget.spend(len(data))
        self.array = decode_array(
            np.frombuffer(data, dtype.dtype).reshape(shape, order="F" if order == "F" else "C")
        )
        return self


def _are_counts(values: Any) -> bool:
    return type(values) is tuple and all(type(value) is int and value >= 0 for value in values)


def _allowed_names(budget: _SizeBudget, results: Mapping[str, tuple[str, ...]]) -> Callable[[str, str], Any]:
    """Return a function that finds the stand-in for an allowed name and refuses all others."""

    def dtype(code: Any, *_: Any) -> _Dtype:
        check(type(code) is str and len(code) <= _LONGEST_CODE, "has an invalid type")
        kind = np.dtype(code)
        if kind.kind not in "biufcSU":
            raise ForbiddenContentError(f"holds values of type {kind}")
        return _Dtype(kind)

    def scalar(of: Any, data: Any) -> _Array:
        return _Array(budget).fill(data, of, (), "C")

    def buffer(data: Any, of: Any, shape: Any, order: Any) -> _Array:
        return _Array(budget).fill(data, of, shape, order)

    def encode(text: Any, encoding: Any = "latin1") -> bytes:
        check(type(text) is str and encoding == "latin1", "has invalid bytes")
        return bytes(text, "latin1")

    def storage(data: Any) -> np.ndarray:
        check(type(data) is bytes, "has a tensor without numbers")
        budget.spend(len(data))
        return _read_storage(data)

    def tensor(numbers: Any, offset: Any, size: Any, stride: Any, *_: Any) -> _Array:
        check(isinstance(numbers, np.ndarray), "has a tensor without numbers")
        check(
            _are_counts((offset,)) and _are_counts(size) and _are_counts(stride),
            "has a tensor without a shape",
        )
        return _Array(budget, _view(numbers, offset, size, stride, budget))

    def parameter(data: Any, *_: Any) -> _Array:
        check(isinstance(data, _Array), "has a parameter without numbers")
        return _Array(budget, data.array)

    def hooks() -> dict[Any, Any]:
        return {}  # a tensor's hooks, of which there are none

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

    def find(module: str, name: str) -> AllowedName:
        if module in results.get(name, ()):
            return AllowedName(_ResultObject)
        # Old and new NumPy differ in one module's name.
        make = admitted.get(f"{module.replace('numpy._core', 'numpy.core')}.{name}")
        if make is None:
            raise ForbiddenContentError(
                f"names {printable(f'{module}.{name}')}, which no published result contains"
            )
        return AllowedName(make)

    return find


def _view(
    numbers: np.ndarray, offset: int, size: tuple[int, ...], stride: tuple[int, ...], budget: _SizeBudget
) -> np.ndarray:
    """Copy a tensor's numbers out of its storage, which must hold at least as many."""
    count = math.prod(size)
    if not count:
        return np.zeros(size, numbers.dtype)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    check(last < len(numbers) and count <= len(numbers), "has a tensor that is larger than its storage")
    budget.spend(count * numbers.itemsize)
    steps = [step * numbers.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(numbers[offset:], size, steps).copy()


def _read_storage(data: bytes) -> np.ndarray:
    """Return a tensor's numbers, (n,), which torch saves within a pickle as five pickles, then the numbers."""

    def names(module: str, name: str) -> str:
        if module != "torch" or name not in _STORAGES:
            raise ForbiddenContentError(f"names {printable(f'{module}.{name}')} in a tensor")
        return _STORAGES[name]

    def persistent(entry: Any) -> tuple[str, int]:
        check(
            type(entry) is tuple and len(entry) in (5, 6) and entry[0] == "storage", "has an invalid tensor"
        )
        check(type(entry[1]) is str and _are_counts((entry[4],)), "has an invalid tensor")
        return entry[1], entry[4]

    stream = io.BytesIO(data)
    for _ in ("magic number", "version", "system"):
        PickleInterpreter(names).run(stream)
    storage = PickleInterpreter(names, persistent).run(stream)
    check(type(storage) is tuple and len(storage) == 2, "has an invalid tensor")
    PickleInterpreter(names).run(stream)  # the list of storage keys, with one entry
    code, count = storage
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


class _PlainValues:
    """Converts values to plain ones and arrays; a value referred to twice is converted once but counted twice."""

    def __init__(self, budget: _SizeBudget) -> None:
        self.budget = budget
        self.converted: dict[int, tuple[Any, int] | None] = {}  # by id: the value, and how many it holds

    def __call__(self, value: Any) -> Any:
        plain, count = self._plain(value, 0)
        self.budget.spend(count)
        return plain

    def _plain(self, value: Any, depth: int) -> tuple[Any, int]:
        """Return the plain value, and how many values it holds."""
        if isinstance(value, _ResultObject):
            value = value.attributes
        if isinstance(value, _Array):
            return value.array[()] if value.array.ndim == 0 else value.array, max(1, value.array.size)
        if type(value) is str:
            value.encode()  # a lone surrogate is not text
        if not isinstance(value, (list, tuple, dict)):
            return (value if isinstance(value, (str, int, float, bytes, type(None))) else None), 1
        check(depth < _DEEPEST, "is nested too deeply")
        if id(value) not in self.converted:
            self.converted[id(value)] = None  # until its own items are converted
            items = value.values() if isinstance(value, dict) else value
            parts = [self._plain(item, depth + 1) for item in items]
            plain = [part for part, _ in parts]
            self.converted[id(value)] = (
                dict(zip(map(str, value), plain, strict=True)) if isinstance(value, dict) else plain,
                1 + sum(count for _, count in parts),
            )
        known = self.converted[id(value)]
        if known is None:
            raise ValueError("it has a list that contains itself")
        return known
