"""Inference results of the published Spotlight tool, read without running what a pickle may hold.

A pickle is a program. This reader admits the few names that such results are made of, refuses all others, and
lets each admitted name stand for code of its own that only stores what it is given: nothing but plain values
and arrays can come of it, and nothing outside the file's own values can be changed by it.
"""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from weakspot.predictions.record import Predictions
from weakspot.tasks import Task

_RESULTS = ("InferenceResults", "SpotlightResults")
_HOMES = ("torch_spotlight.utils", "spotlight.utils", "utils", "__main__")


def read_inference(path: str | Path, task: Task | None = None, attributes: Any = None) -> Predictions:
    """Predictions from a pickled `InferenceResults`, or from the dictionary that earlier versions wrote.

    `outputs` may be logits or probabilities (n, C); of probabilities the logarithm is kept, whose softmax
    they are. A single column is the probability of class 1 if the labels are 0 and 1; otherwise nobody knows
    what it is of, and it becomes the attribute `output`. Losses are taken as they stand.

    Raises ValueError if the pickle names anything but such results, or if fields are missing or do not fit.
    """
    fields = read_fields(path)
    missing = [name for name in ("embeddings", "losses") if fields.get(name) is None]
    if missing:
        raise ValueError(
            f"{path} holds no {missing[0]}, so it is no inference result; it holds {', '.join(fields)}"
        )
    embeddings = np.asarray(fields["embeddings"])
    losses, labels, outputs = (_column(fields.get(name)) for name in ("losses", "labels", "outputs"))
    if outputs is not None and outputs.ndim == 1:
        if labels is not None and labels.ndim == 1 and np.isin(labels, (0, 1)).all() and _are_shares(outputs):
            outputs = np.stack([1 - outputs, outputs], axis=1)
        else:
            attributes = {"output": outputs} if attributes is None else attributes
            outputs = None
    if outputs is not None and _are_shares(outputs) and np.allclose(outputs.sum(axis=1), 1, atol=1e-3):
        outputs = np.log(np.maximum(outputs, np.finfo(np.float32).tiny))
    return Predictions.from_arrays(
        embeddings=embeddings.reshape(len(embeddings), -1),
        losses=losses,
        labels=labels,
        outputs=outputs,
        attributes=attributes,
        task=task,
        manifest={"source": Path(path).name, "format": "published inference results"},
    )


def read_fields(path: str | Path) -> Mapping[str, Any]:
    """The fields of a published result, as plain values and arrays.

    Raises ValueError for a pickle that names anything else than such results are made of, or that is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; give the .pkl file that the published tool wrote")
    with path.open("rb") as file:
        try:
            found = _Reader(file).load()
        except _RefusedError as refused:
            raise ValueError(f"{path} {refused}; it was not loaded, for a pickle can run any code") from None
        except Exception as error:  # a damaged pickle can fail in any way
            raise ValueError(f"{path} is damaged or no published result: {error}") from error
    fields = vars(found) if isinstance(found, _Results) else found
    if not isinstance(fields, dict) or not fields:
        raise ValueError(f"{path} holds a {type(found).__name__}, not a published result")
    return {str(name): _plain(value) for name, value in fields.items()}


class _RefusedError(Exception):
    pass


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name in _RESULTS and module in _HOMES:
            return type("Results", (_Results,), {})
        # Old and new NumPy differ in the name of one module.
        known = _ADMITTED.get(f"{module.replace('numpy._core', 'numpy.core')}.{name}")
        if known is None:
            raise _RefusedError(f"names {module}.{name}, of which no published result is made")
        return type(known.__name__, (known,), {})


class _Results:
    """A result's fields, as attributes."""


class _Array:
    """A NumPy array: made empty, then told what it holds."""

    array: Shaped[np.ndarray, " *shape"]

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        self.array = np.frombuffer(bytearray(data), dtype.dtype).reshape(shape, order="F" if fortran else "C")


class _Buffer(_Array):
    """A NumPy array in protocol 5: told at once."""

    def __init__(self, data: Any, dtype: Any, shape: Any, order: str) -> None:
        self.array = np.frombuffer(bytearray(data), dtype.dtype).reshape(
            shape, order="F" if order == "F" else "C"
        )


class _Scalar(_Array):
    def __init__(self, dtype: Any, data: Any) -> None:
        self.array = np.frombuffer(data, dtype.dtype)[0]


class _Dtype:
    """Of numbers and text only."""

    def __init__(self, code: str, *_: Any) -> None:
        self.dtype = np.dtype(str(code))
        if self.dtype.kind not in "biufcSU":
            raise _RefusedError(f"holds values of type {self.dtype}")

    def __setstate__(self, state: Any) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Bytes(bytes):
    """Bytes as early protocols write them: text to be encoded."""

    def __new__(cls, text: str, _: str = "latin1") -> _Bytes:
        return super().__new__(cls, text.encode("latin1"))


class _Storage:
    """A tensor's numbers, as torch saved them; torch's own restricted reader takes them apart."""

    def __init__(self, data: bytes) -> None:
        import torch

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # typed storages are deprecated, and the format is made of them
            self.storage = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


class _Tensor(_Array):
    def __init__(self, storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> None:
        import torch

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            flat = torch.empty(0, dtype=storage.storage.dtype)
            flat = flat.set_(storage.storage.untyped(), offset, tuple(size), tuple(stride))
        self.array = (flat.float() if flat.dtype == torch.bfloat16 else flat).numpy().copy()


class _Parameter(_Array):
    def __init__(self, data: Any, *_: Any) -> None:
        self.array = data.array


class _Nothing(dict[Any, Any]):
    """Hooks of a tensor, of which there are none."""


_ADMITTED: Mapping[str, type] = {
    "collections.OrderedDict": _Nothing,
    "numpy.ndarray": _Array,
    "numpy.dtype": _Dtype,
    "numpy.core.multiarray._reconstruct": _Array,
    "numpy.core.multiarray.scalar": _Scalar,
    "numpy.core.numeric._frombuffer": _Buffer,
    "_codecs.encode": _Bytes,
    "torch.storage._load_from_bytes": _Storage,
    "torch._utils._rebuild_tensor_v2": _Tensor,
    "torch._utils._rebuild_parameter": _Parameter,
}


def _plain(value: Any) -> Any:
    if isinstance(value, _Array):
        return value.array
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool, bytes, type(None))) else None


def _column(values: Any) -> Shaped[np.ndarray, " *shape"] | None:
    """(n,) for what may stand as (n, 1)."""
    if values is None:
        return None
    array = np.asarray(values)
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def _are_shares(values: Shaped[np.ndarray, " *shape"]) -> bool:
    return bool(np.issubdtype(values.dtype, np.floating) and (values >= 0).all() and (values <= 1).all())
