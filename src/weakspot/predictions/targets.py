"""Labels and predictions as they come in: the task they belong to, and the form that it gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Num, Shaped

from weakspot.predictions.validation import check_finite
from weakspot.tasks import Classification, Multilabel, QuestionAnswering, Regression, Task, class_names

Targets = Mapping[str, np.ndarray]
"""Labels and predictions, those that are given: texts or whole numbers or fractions."""


def read_targets(
    labels: Any,
    predictions: Any,
    outputs: Float[np.ndarray, "n C"] | None,
    ids: Shaped[np.ndarray, " n"],
    task: Task | None,
) -> tuple[Num[np.ndarray, "n ..."] | None, Num[np.ndarray, "n ..."] | None, Task | None]:
    """Labels and predictions in the form of their task, and that task, inferred where none is given.

    Without a task, fractions among labels or predictions make it a regression, names or whole numbers a
    classification, two dimensions a multilabel task. A column of outputs that belongs to neither one class of
    several nor to a yes-or-no is a predicted number, so it makes it a regression too.
    """
    given = {"labels": labels, "predictions": predictions}
    arrays = {name: _values(name, values, ids) for name, values in given.items() if values is not None}
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) > 1:
        raise ValueError(
            f"labels have shape {arrays['labels'].shape} but predictions {arrays['predictions'].shape}"
        )
    if task is None:
        task = _infer_task(arrays, outputs)
    if task is not None and outputs is not None and outputs.shape[1] != task.n_outputs:
        wanted = (
            "a regression has 1" if isinstance(task, Regression) else f"the task has {task.n_outputs} classes"
        )
        raise ValueError(f"outputs have {outputs.shape[1]} columns but {wanted}")
    for name, array in arrays.items():
        assert task is not None  # inferred where there are labels or predictions
        arrays[name] = _in_form(name, array, task, ids)
    return arrays.get("labels"), arrays.get("predictions"), task


def _in_form(name: str, array: np.ndarray, task: Task, ids: np.ndarray) -> np.ndarray:
    """The array as the task has it: indices, rows of 0 and 1, spans, or real numbers."""
    width = {"multilabel": (task.n_outputs,), "question_answering": (2,)}.get(task.kind, ())
    wanted = (len(ids), *width)
    if array.shape != wanted:
        classes = f" of {len(task.classes)} classes" if task.classes else ""
        raise ValueError(f"{name} have shape {array.shape}, but a {task.kind} task{classes} has {wanted}")
    if isinstance(task, Regression):
        if array.dtype.kind == "U":
            raise ValueError(f"{name} must be numbers for a regression, not texts such as {array[0]!r}")
        return array.astype(np.float64)
    if array.dtype.kind == "f":
        raise ValueError(
            f"{name} must be class indices or names, not fractions; for real-valued targets give "
            "task=Regression()"
        )
    if isinstance(task, QuestionAnswering):
        return array
    if array.ndim == 2:
        neither = ((array != 0) & (array != 1)).any(axis=1)
        if neither.any():
            row = int(np.argmax(neither))
            raise ValueError(
                f"{name}: row {row} (id {ids[row]}) is {array[row].tolist()}; a multilabel row holds 0 and 1"
            )
        return array
    if array.dtype.kind == "U":
        position = {text: index for index, text in enumerate(task.classes)}
        unknown = [row for row, text in enumerate(array) if text not in position]
        if unknown:
            row = unknown[0]
            known = ", ".join(task.classes[:10])
            raise ValueError(f"{name}: row {row} (id {ids[row]}) is {array[row]!r}, not one of: {known}")
        return np.array([position[text] for text in array], dtype=np.int64)
    outside = (array < 0) | (array >= task.n_outputs)
    if outside.any():
        row = int(np.argmax(outside))
        raise ValueError(f"{name}: row {row} (id {ids[row]}) is {array[row]}, outside 0…{task.n_outputs - 1}")
    return array


def _values(name: str, values: Any, ids: np.ndarray) -> np.ndarray:
    """Labels or predictions as texts (n,), as fractions (n,), or as integers, (n,) or (n, C)."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if values.is_floating_point() and values.dtype.itemsize < 4:  # NumPy has no bfloat16
            values = values.float()
        values = values.numpy()
    array = np.asarray(values)
    if array.ndim not in (1, 2):
        raise ValueError(
            f"{name} must be one value per row, or one per row and class, not of shape {array.shape}"
        )
    if len(array) != len(ids):
        raise ValueError(f"{name} has {len(array)} rows but embeddings have {len(ids)}")
    if array.dtype.kind in "OSU":
        return _texts(name, array, ids)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be class indices or names, or real numbers, not {array.dtype}")
    if array.dtype.kind == "f":
        check_finite(name, array, ids)
        if (array != np.round(array)).any():
            if array.ndim == 2 and array.shape[1] > 1:
                raise ValueError(f"{name} of two dimensions must be 0 and 1 for each class, not fractions")
            return array.astype(np.float64).ravel()
    if array.dtype.kind in "fu" and array.max(initial=0) >= 2**53:
        raise ValueError(f"{name} must be class indices or names; {array.max()} is too large for an index")
    return array.astype(np.int64)


def _texts(name: str, array: np.ndarray, ids: np.ndarray) -> np.ndarray:
    if array.ndim == 2:
        raise ValueError(f"{name} of two dimensions must be 0 and 1 for each class, not names")
    if array.dtype.kind == "O":
        for row, value in enumerate(array):
            if not isinstance(value, (str, bytes, int, np.integer, np.bool_)):
                raise ValueError(
                    f"{name}: row {row} (id {ids[row]}) is {value!r}, neither a name nor an index; "
                    "fill it in or leave out the row"
                )
        array = np.array([value if isinstance(value, bytes) else str(value).encode() for value in array])
    try:
        return np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} hold bytes that are no UTF-8 text; decode them first") from error


def _infer_task(arrays: Targets, outputs: np.ndarray | None) -> Task | None:
    if not arrays:
        return Classification(tuple(map(str, range(outputs.shape[1])))) if outputs is not None else None
    if any(array.dtype.kind == "f" for array in arrays.values()):
        _check_regression(arrays, outputs)
        return Regression()
    first = next(iter(arrays.values()))
    if first.ndim == 2:
        return Multilabel(tuple(map(str, range(first.shape[1]))))
    texts = [set(array.tolist()) for array in arrays.values() if array.dtype.kind == "U"]
    if texts:
        return Classification(class_names(set().union(*texts)))
    if outputs is not None:
        return Classification(tuple(map(str, range(outputs.shape[1]))))
    largest = max(int(array.max()) for array in arrays.values())
    if largest > 10 * len(first) + 1000:
        raise ValueError(
            f"the largest class index is {largest} in {len(first)} rows; give the labels as names (texts), the "
            "task=, or task=Regression() where they are real-valued targets"
        )
    return Classification(tuple(map(str, range(largest + 1))))


def _check_regression(arrays: Targets, outputs: np.ndarray | None) -> None:
    """Raise ValueError where fractions stand beside what no regression has: names, 0 and 1, a column per class."""
    fractions = next(name for name, array in arrays.items() if array.dtype.kind == "f")
    other = "predictions" if fractions == "labels" else "labels"
    if other in arrays and arrays[other].dtype.kind == "U":
        raise ValueError(f"{fractions} must be class indices or names, as the {other} are, not fractions")
    if other == "labels" and other in arrays and np.isin(arrays[other], (0, 1)).all():
        raise ValueError(
            "predictions are fractions but labels only 0 and 1; give probabilities as outputs=, or "
            "task=Regression() if these are real-valued targets"
        )
    if outputs is not None and outputs.shape[1] > 1:
        raise ValueError(
            f"{fractions} must be class indices or names, not fractions, where outputs have a column for each "
            f"of {outputs.shape[1]} classes"
        )
