"""Conversion of a user's labels and predictions to the format of their task, which is inferred if not given."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Num, Shaped

from weakspot.class_names import class_names, is_number
from weakspot.legible import row_name
from weakspot.predictions.outputs import as_logits, check_kind
from weakspot.predictions.validation import NUMBERS, as_array, as_numbers, check_finite
from weakspot.tasks import (
    Classification,
    Multilabel,
    QuestionAnswering,
    Regression,
    Task,
)

log = logging.getLogger(__name__)

_MANY_CLASSES = 30
_MANY_VALUES = 0.02  # of the rows: classes with fewer than 50 examples each are more likely quantities
# From here on not every whole number is a float64, so such numbers are not indices.
_LARGEST_INDEX = 2**53

Targets = Mapping[str, np.ndarray]
"""The given labels and predictions, by name: texts, indices (integers) or real numbers (float64)."""


def read_targets(
    labels: Any,
    predictions: Any,
    outputs: Float[np.ndarray, "n given"] | None,
    ids: Shaped[np.ndarray, " n"],
    task: Task | None,
    outputs_are: str | None = None,
) -> tuple[
    Num[np.ndarray, "n ..."] | None,
    Num[np.ndarray, "n ..."] | None,
    Float[np.ndarray, "n C"] | None,
    Task | None,
]:
    """Return labels and predictions in the format of their task, outputs as its logits, and the task.

    If no task is given, fractions among labels or predictions imply a regression, names or whole numbers a
    classification, two dimensions a multilabel task. A single column of outputs is the logit of the second of two
    classes, or else a predicted number, which also implies a regression. In a regression, numbers may be of any size.

    Names are numbered in the order of an ordered categorical, or else as `class_names` sorts them. If outputs or
    indices beside them depend on that order, a warning is logged.

    Args:
        labels: Texts, indices, fractions, or 0 and 1 for each class; or None.
        predictions: The same, or None.
        outputs: Finite numbers, (n, C), or None.
        ids: Ids of the rows, for errors.
        task: The task, if it is known.
        outputs_are: "logits", "probabilities" or None, as in `as_logits`.

    Returns:
        Labels, predictions, outputs and task; each None if it is unknown.

    Raises:
        ValueError: Arrays do not fit each other or the task; the error names the array and the row.
    """
    given = {"labels": labels, "predictions": predictions}
    check_kind(outputs_are)
    real = isinstance(task, Regression)
    arrays = {name: _values(name, values, ids, real) for name, values in given.items() if values is not None}
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) > 1:
        raise ValueError(
            f"labels have shape {arrays['labels'].shape} but predictions {arrays['predictions'].shape}"
        )
    if task is None:
        if outputs is not None:
            arrays = {name: _as_indices(array, outputs.shape[1]) for name, array in arrays.items()}
        order = next(filter(None, (_order(values) for values in given.values())), None)
        task = _infer_task(arrays, outputs, order)
    if task is not None and outputs is not None:
        outputs = as_logits(outputs, task, outputs_are, ids)
        _check_width(outputs, task, arrays)
    for name, array in arrays.items():
        assert task is not None  # inferred if there are labels or predictions
        arrays[name] = _in_task_format(name, array, task, ids)
    return arrays.get("labels"), arrays.get("predictions"), outputs, task


def _check_width(outputs: np.ndarray, task: Task, arrays: Targets) -> None:
    width = outputs.shape[1]
    if width == task.n_outputs:
        return
    if isinstance(task, Regression):
        raise ValueError(f"outputs have {width} columns but a regression has 1")
    named = any(array.dtype.kind == "U" for array in arrays.values())
    advice = (
        ": store labels as indices of the columns, or in Python give task=Classification((…)) with all names"
    )
    raise ValueError(
        f"outputs have {width} columns but the task has {task.n_outputs} classes{advice if named else ''}"
    )


def _in_task_format(name: str, array: np.ndarray, task: Task, ids: np.ndarray) -> np.ndarray:
    """Return the array in the task's format: indices, rows of 0 and 1, spans, or real numbers."""
    width = {"multilabel": (task.n_outputs,), "question_answering": (2,)}.get(task.kind, ())
    expected = (len(ids), *width)
    if array.shape != expected:
        classes = f" of {len(task.classes)} classes" if task.classes else ""
        raise ValueError(f"{name} have shape {array.shape}, but a {task.kind} task{classes} has {expected}")
    if isinstance(task, Regression):
        if array.dtype.kind == "U":
            raise ValueError(f"{name} must be numbers for a regression, not texts such as {array[0]!r}")
        return array.astype(np.float64)
    if array.dtype.kind == "f":
        raise ValueError(
            f"{name} must be class indices or names, not {_kind(array)}; for real-valued targets give "
            "task=Regression()"
        )
    if isinstance(task, QuestionAnswering):
        return array
    if array.ndim == 2:
        neither = ((array != 0) & (array != 1)).any(axis=1)
        if neither.any():
            row = int(np.argmax(neither))
            raise ValueError(
                f"{name}: {row_name(row, ids)} is {array[row].tolist()}; a multilabel row holds 0 and 1"
            )
        return array
    if array.dtype.kind == "U":
        position = {text: index for index, text in enumerate(task.classes)}
        unknown = [row for row, text in enumerate(array) if text not in position]
        if unknown:
            row = unknown[0]
            known = ", ".join(task.classes[:10])
            raise ValueError(f"{name}: {row_name(row, ids)} is {array[row]!r}, not one of: {known}")
        return np.array([position[text] for text in array], dtype=np.int64)
    outside = (array < 0) | (array >= task.n_outputs)
    if outside.any():
        row = int(np.argmax(outside))
        from_one = array.min() == 1 and array.max() == task.n_outputs
        advice = "; indices count from 0, and these seem to count from 1: subtract 1" if from_one else ""
        if array.min() < 0:
            advice = "; if these are quantities, add task=regression (in Python task=Regression())"
        raise ValueError(
            f"{name}: {row_name(row, ids)} is {array[row]}, outside 0…{task.n_outputs - 1}{advice}"
        )
    return array


def _values(name: str, values: Any, ids: np.ndarray, real: bool) -> np.ndarray:
    """Return labels or predictions as texts (n,), as real numbers (n,), or as integers, (n,) or (n, C).

    Real numbers are fractions, numbers too large for an index, and all numbers if `real`.
    """
    array = as_array(name, values)
    if array.ndim not in (1, 2):
        raise ValueError(
            f"{name} must be one value per row, or one per row and class, not of shape {array.shape}"
        )
    if len(array) != len(ids):
        raise ValueError(f"{name} has {len(array)} rows but embeddings have {len(ids)}")
    if array.dtype.kind == "O" and all(isinstance(value, NUMBERS) for value in array.flat):
        array = array.astype(np.float64)
    if array.dtype.kind in "OSU" or _order(values) is not None:
        return _texts(name, array, ids)
    if array.dtype.kind not in "fiubV":
        raise ValueError(f"{name} must be class indices or names, or real numbers, not {array.dtype}")
    array = as_numbers(name, array)
    if array.dtype.kind == "f":
        check_finite(name, array, ids)
    if real:
        return array.astype(np.float64)
    if array.dtype.kind in "ib":
        return array.astype(np.int64)
    numbers = array.astype(np.float64)
    if not _has_fractions(numbers) and _largest(numbers) < _LARGEST_INDEX:
        return array.astype(np.int64)
    if array.ndim == 2 and array.shape[1] > 1:
        raise ValueError(f"{name} of two dimensions must be 0 and 1 for each class, not {_kind(numbers)}")
    return numbers.ravel()


def _has_fractions(numbers: Float[np.ndarray, "n ..."]) -> bool:
    return bool((numbers != np.round(numbers)).any())


def _largest(numbers: Float[np.ndarray, "n ..."]) -> float:
    return float(np.abs(numbers).max(initial=0))


def _kind(numbers: Float[np.ndarray, "n ..."]) -> str:
    """Return why real numbers are not indices."""
    return "fractions" if _has_fractions(numbers) else f"numbers as large as {_largest(numbers):g}"


def _texts(name: str, array: np.ndarray, ids: np.ndarray) -> np.ndarray:
    if array.ndim == 2:
        raise ValueError(f"{name} of two dimensions must be 0 and 1 for each class, not names")
    if array.dtype.kind == "O":
        for row, value in enumerate(array):
            if not isinstance(value, (str, bytes, int, np.integer, np.bool_)):
                raise ValueError(
                    f"{name}: {row_name(row, ids)} is {value!r}, neither a name nor an index; "
                    "fill it in or leave out the row"
                )
        array = np.array([value if isinstance(value, bytes) else str(value).encode() for value in array])
    try:
        return np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array.astype(str)
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} hold bytes that are not UTF-8 text; decode them first") from error


def _order(values: Any) -> tuple[str, ...] | None:
    """Return the classes of an ordered categorical (pandas, Arrow) or an enumeration (Polars), in its own order."""
    kind = getattr(values, "type", None)
    if isinstance(kind, pa.DictionaryType):
        chunks = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
        return tuple(map(str, chunks[0].dictionary.to_pylist())) if kind.ordered and chunks else None
    kind = getattr(values, "dtype", None)
    ordered = type(kind).__name__ == "Enum" or getattr(kind, "ordered", False) is True
    return tuple(map(str, getattr(kind, "categories", ()))) if ordered else None


def _as_indices(array: np.ndarray, n_classes: int) -> np.ndarray:
    """Return names such as "0.0" … "11.0" as indices if all are whole numbers from 0 on, below `n_classes`."""
    if array.dtype.kind != "U":
        return array
    names = set(array.tolist())
    if not all(is_number(name) for name in names):
        return array
    index = {name: Decimal(name) for name in names}
    distinct = set(index.values())
    if len(distinct) < len(names) or min(distinct) != 0 or not distinct <= set(range(n_classes)):
        return array
    return np.array([int(index[name]) for name in array.tolist()], dtype=np.int64)


def _infer_task(arrays: Targets, outputs: np.ndarray | None, order: tuple[str, ...] | None) -> Task | None:
    width = None if outputs is None else outputs.shape[1]
    if not arrays:
        if width == 1:
            raise ValueError(
                "outputs have one column, whose meaning is unknown without labels: give labels; or in Python "
                "task=Classification((no, yes)) if it is the logit of yes, task=Regression() if it is a number"
            )
        return None if width is None else _numbered(width)
    if any(array.dtype.kind == "f" for array in arrays.values()):
        _check_regression(arrays, width)
        return Regression()
    first = next(iter(arrays.values()))
    if first.ndim == 2:
        return Multilabel(tuple(map(str, range(first.shape[1]))))
    texts = [set(array.tolist()) for array in arrays.values() if array.dtype.kind == "U"]
    if texts:
        names = class_names(set().union(*texts)) if order is None else order
        if order is None and (width in (1, len(names)) or len(texts) < len(arrays)):
            _warn_of_order(
                " and ".join(name for name, array in arrays.items() if array.dtype.kind == "U"), names
            )
        _warn_of_spelling(arrays)
        return Classification(names)
    largest = max(int(array.max()) for array in arrays.values())
    if width == 1:
        two = all(np.isin(array, (0, 1)).all() for array in arrays.values())
        return _numbered(2) if two else Regression()
    if width is not None:
        return _numbered(width)
    if largest > 10 * len(first) + 1000:
        raise ValueError(
            f"the largest class index is {largest} in {len(first)} rows; if these are quantities, add task=regression "
            "(in Python task=Regression()); otherwise give the labels as names (texts)"
        )
    values = len(np.unique(first))
    if values > _MANY_CLASSES and values > _MANY_VALUES * len(first):
        log.warning(
            "the whole numbers of labels or predictions have %d values in %d rows and are taken for classes; if they "
            "are quantities, add task=regression (in Python task=Regression())",
            values,
            len(first),
        )
    return _numbered(largest + 1)


def _numbered(n_classes: int) -> Classification:
    return Classification(tuple(map(str, range(n_classes))))


def _warn_of_order(named: str, names: tuple[str, ...]) -> None:
    if names != _numbered(len(names)).classes:
        numbering = ", ".join(f"{index} is {name}" for index, name in enumerate(names[:10]))
        log.warning(
            "%s are names, so classes are numbered in the order of their names: %s%s; if the model's outputs have "
            "another order, store indices, or in Python give task=Classification((…)) with the names in that order",
            named,
            numbering,
            ", …" if len(names) > 10 else "",
        )


def _check_regression(arrays: Targets, width: int | None) -> None:
    """Raise ValueError if real numbers come with names, 0 and 1, or a column per class, which no regression has, or if
    only their size shows that they are not indices.
    """
    kinds = {name: _kind(array) for name, array in arrays.items() if array.dtype.kind == "f"}
    real, kind = next(iter(kinds.items()))
    other = "predictions" if real == "labels" else "labels"
    if other in arrays and arrays[other].dtype.kind == "U":
        raise ValueError(f"{real} must be class indices or names, as the {other} are, not {kind}")
    if other == "labels" and other in arrays and np.isin(arrays[other], (0, 1)).all():
        raise ValueError(
            f"predictions are {kind} but labels only 0 and 1; give probabilities as outputs=, or "
            "task=Regression() if these are real-valued targets"
        )
    if width is not None and width > 1:
        raise ValueError(
            f"{real} must be class indices or names, not {kind}, because outputs have a column for each "
            f"of {width} classes"
        )
    if width is None and not any(_has_fractions(arrays[name]) for name in kinds):
        raise ValueError(
            f"{real} hold {kind}, too large for class indices: give labels and predictions as names (texts), or "
            "task=Regression() if they are real-valued targets"
        )


def _warn_of_spelling(arrays: Targets) -> None:
    """Warn of predicted classes that differ from a label only in case or blanks: such predictions count as wrong."""
    labels, predictions = (
        set(arrays[name].tolist()) if name in arrays else set() for name in ("labels", "predictions")
    )
    written = {str(label).casefold().strip(): label for label in labels}
    for name in sorted(map(str, predictions - labels)):
        label = written.get(name.casefold().strip())
        if label is not None:
            log.warning(
                "%r among predictions and %r among labels count as two classes: spell them alike",
                name,
                label,
            )
