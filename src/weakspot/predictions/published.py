"""Inference results of the published Spotlight tool, read without running what a pickle may hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from weakspot.predictions.pickles import load
from weakspot.predictions.reading import DamagedError, naming, reading
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
    path = Path(path)
    fields = read_fields(path)
    missing = [name for name in ("embeddings", "losses") if fields.get(name) is None]
    if missing:
        spotlight = {"unnormalized_weights", "weights_unnorm"} & fields.keys()
        hint = f"; it is a spotlight, which slices={path} takes" if spotlight else ""
        raise DamagedError(
            f"{path} holds no {missing[0]}, so it is no inference result; it holds {', '.join(fields)[:300]}{hint}"
        )
    columns = {name: field(path, fields, name) for name in ("embeddings", "losses", "outputs")}
    columns["labels"] = field(path, fields, "labels", kinds="biufU")
    with reading(path), naming(path):
        return _record(path.name, columns, task, attributes)


def _record(source: str, columns: Mapping[str, Any], task: Task | None, attributes: Any) -> Predictions:
    embeddings = columns["embeddings"]
    losses, labels, outputs = (_column(columns[name]) for name in ("losses", "labels", "outputs"))
    if embeddings.ndim > 2:
        embeddings = embeddings.reshape(len(embeddings), -1)
    if outputs is not None and outputs.ndim == 1:
        if labels is not None and labels.ndim == 1 and np.isin(labels, (0, 1)).all() and _are_shares(outputs):
            outputs = np.stack([1 - outputs, outputs], axis=1)
        else:
            attributes = {"output": outputs} if attributes is None else attributes
            outputs = None
    if outputs is not None and _are_shares(outputs) and np.allclose(outputs.sum(axis=1), 1, atol=1e-3):
        outputs = np.log(np.maximum(outputs, np.finfo(np.float32).tiny))
    return Predictions.from_arrays(
        embeddings=embeddings,
        losses=losses,
        labels=labels,
        outputs=outputs,
        attributes=attributes,
        task=task,
        manifest={"source": source, "format": "published inference results"},
        outputs_are="logits",
    )


def read_fields(path: str | Path) -> Mapping[str, Any]:
    """The fields of a published result, as plain values and arrays.

    Raises:
        FileNotFoundError: Where there is no file.
        DamagedError: For a pickle that names anything else than such results are made of, or that is damaged.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"{path} {what}; give the .pkl file that the published tool wrote")
    fields = load(path, dict.fromkeys(_RESULTS, _HOMES))
    if not isinstance(fields, dict) or not fields:
        raise DamagedError(f"{path} holds a {type(fields).__name__}, not a published result")
    return fields


def field(
    path: Path, fields: Mapping[str, Any], name: str, kinds: str = "biuf"
) -> Shaped[np.ndarray, " *shape"] | None:
    """A field of numbers, or None where there is none: an array, or lists of numbers or arrays of one shape.

    Raises DamagedError, naming file and field, where it is anything else.
    """
    values = fields.get(name)
    if values is None:
        return None
    with reading(path, name):
        array = np.asarray(values)
        if array.dtype.kind not in kinds:
            raise ValueError(f"it must be numbers, not {array.dtype}")
        return array


def _column(array: Shaped[np.ndarray, " *given"] | None) -> Shaped[np.ndarray, " *found"] | None:
    """(n,) for what may stand as (n, 1)."""
    return array[:, 0] if array is not None and array.ndim == 2 and array.shape[1] == 1 else array


def _are_shares(values: Shaped[np.ndarray, " *shape"]) -> bool:
    return bool(np.issubdtype(values.dtype, np.floating) and (values >= 0).all() and (values <= 1).all())
