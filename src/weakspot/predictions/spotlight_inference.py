"""A reader for the published Spotlight tool's inference results that runs no code from the pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from weakspot.predictions.pickles import read_pickle
from weakspot.predictions.reading import DamagedError, naming, reading
from weakspot.predictions.record import Predictions
from weakspot.tasks import Task

_RESULT_CLASSES = ("InferenceResults", "SpotlightResults")
_RESULT_MODULES = ("torch_spotlight.utils", "spotlight.utils", "utils", "__main__")


def read_inference(path: str | Path, task: Task | None = None, attributes: Any = None) -> Predictions:
    """Return the predictions in a pickled `InferenceResults`, or in the dictionary that earlier versions wrote.

    `outputs` may be logits or probabilities, (n, C). Probabilities are replaced by their logarithms, which are
    equivalent logits. A single column is the probability of class 1 if the labels are 0 and 1; otherwise its meaning is
    unknown, and it becomes the attribute `output`. Losses are kept unchanged.

    Args:
        path: The file.
        task: What the model was asked to predict, if the labels do not determine it.
        attributes: As in `Predictions.from_arrays`.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedError: The pickle names anything but such results, or a field is missing or does not fit.
    """
    path = Path(path)
    fields = read_fields(path)
    missing = [name for name in ("embeddings", "losses") if fields.get(name) is None]
    if missing:
        spotlight = {"unnormalized_weights", "weights_unnorm"} & fields.keys()
        hint = f"; it is a spotlight: give it as slices={path}" if spotlight else ""
        raise DamagedError(
            f"{path} has no {missing[0]}, so it is not an inference result; it has {', '.join(fields)[:300]}{hint}"
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
        if (
            labels is not None
            and labels.ndim == 1
            and np.isin(labels, (0, 1)).all()
            and _lie_between_0_and_1(outputs)
        ):
            outputs = np.stack([1 - outputs, outputs], axis=1)
        else:
            attributes = {"output": outputs} if attributes is None else attributes
            outputs = None
    if (
        outputs is not None
        and _lie_between_0_and_1(outputs)
        and np.allclose(outputs.sum(axis=1), 1, atol=1e-3)
    ):
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
    """Return the fields of a published result as plain values and arrays.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedError: The pickle is damaged, or names anything that such results do not contain.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"{path} {what}; give the .pkl file that the published tool wrote")
    fields = read_pickle(path, dict.fromkeys(_RESULT_CLASSES, _RESULT_MODULES))
    if not isinstance(fields, dict) or not fields:
        raise DamagedError(f"{path} holds a {type(fields).__name__}, not a published result")
    return fields


def field(
    path: Path, fields: Mapping[str, Any], name: str, kinds: str = "biuf"
) -> Shaped[np.ndarray, " *shape"] | None:
    """Return a field of numbers as an array, or None if the result has no such field.

    Args:
        path: The file, for the error.
        fields: The fields of the result: arrays, or lists of numbers or of arrays of one shape.
        name: The field's name.
        kinds: NumPy's letters of the allowed kinds of dtype.

    Raises:
        DamagedError: The field holds anything else; the error names the file and the field.
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
    """Return an array of shape (n, 1) as (n,), any other unchanged."""
    return array[:, 0] if array is not None and array.ndim == 2 and array.shape[1] == 1 else array


def _lie_between_0_and_1(values: Shaped[np.ndarray, " *shape"]) -> bool:
    return bool(np.issubdtype(values.dtype, np.floating) and (values >= 0).all() and (values <= 1).all())
