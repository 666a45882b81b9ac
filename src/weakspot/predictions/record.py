"""The Predictions record: arrays of equal length, checked once, on the way in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Num, Shaped

from weakspot.tasks import Classification, Multilabel, QuestionAnswering, Task

RESERVED = ("id", "label", "prediction", "correct", "loss", "count")
"""Column names of the record itself; an attribute cannot take one of them."""

_ROWS_PER_CHECK = 16_384


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model said of every example.

    Build one with `from_arrays` (anyone's arrays) or `load` (a store folder or a file); the constructor
    itself trusts what it is given. Arrays may be memory-mapped: treat them as read-only.

    ids          (n,)    strings, unique
    embeddings   (n, d)  floats: what the model's head receives
    losses       (n,)    or None
    labels       (n,)    class indices, or (n, C) in {0, 1} for a multilabel task, or the first character of
                         an answer and the one after its last, (n, 2), for question answering; or None
    outputs      (n, C)  logits, or None
    predictions  as labels, or None
    correct      (n,)    bool, or None
    counts       (n,)    how many times each example stands for itself; ones by default
    attributes   table of n rows: metadata that a slice is described with, never an input of a method
    task, manifest       what was asked of the model; where the record comes from
    """

    ids: Shaped[np.ndarray, " n"]
    embeddings: Float[np.ndarray, "n d"]
    losses: Float[np.ndarray, " n"] | None = None
    labels: Num[np.ndarray, "n ..."] | None = None
    outputs: Float[np.ndarray, "n C"] | None = None
    predictions: Num[np.ndarray, "n ..."] | None = None
    correct: Shaped[np.ndarray, " n"] | None = None
    counts: Num[np.ndarray, " n"] | None = None
    attributes: pa.Table = field(default_factory=lambda: pa.table({}))
    task: Task | None = None
    manifest: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.embeddings)

    def __repr__(self) -> str:
        n, d = self.embeddings.shape
        kind = self.task.kind if self.task else "no task"
        return (
            f"Predictions({n} examples, {d}-d embeddings, {kind}, attributes: {self.attributes.column_names})"
        )

    @property
    def accuracy(self) -> float | None:
        """Share of correct examples, each counted as often as `counts` says."""
        return None if self.correct is None else float(np.average(self.correct, weights=self.counts))

    def classes(self) -> tuple[str, ...]:
        return self.task.classes if self.task else ()

    def name_of(self, values: np.ndarray | None, row: int) -> str | None:
        """The label or prediction of a row as a person reads it; a multilabel one as its classes, the span of
        an answer by its place in the text."""
        if values is None:
            return None
        if isinstance(self.task, QuestionAnswering):
            start, end = map(int, values[row])
            return f"characters {start}–{end}" if end > start else "no answer"
        classes = self.classes()
        if values.ndim == 2:
            return ", ".join(classes[c] for c in np.flatnonzero(values[row])) or "none"
        return classes[values[row]] if classes else str(values[row])

    def take(self, rows: Sequence[int] | np.ndarray) -> Predictions:
        """The record of some rows, in the order given (in memory)."""
        rows = np.asarray(rows)
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)

        def pick(array: np.ndarray | None) -> np.ndarray | None:
            return None if array is None else np.asarray(array[rows])

        return Predictions(
            ids=self.ids[rows],
            embeddings=np.asarray(self.embeddings[rows]),
            losses=pick(self.losses),
            labels=pick(self.labels),
            outputs=pick(self.outputs),
            predictions=pick(self.predictions),
            correct=pick(self.correct),
            counts=pick(self.counts),
            attributes=self.attributes.take(pa.array(rows))
            if self.attributes.column_names
            else self.attributes,
            task=self.task,
            manifest=self.manifest,
        )

    @classmethod
    def from_arrays(
        cls,
        embeddings: Any,
        losses: Any = None,
        labels: Any = None,
        outputs: Any = None,
        predictions: Any = None,
        correct: Any = None,
        counts: Any = None,
        ids: Any = None,
        attributes: Any = None,
        task: Task | None = None,
        manifest: Mapping[str, Any] | None = None,
    ) -> Predictions:
        """Check anyone's arrays and derive what they leave out.

        Labels and predictions may be names; they become indices into the task's classes. Losses follow from
        outputs and labels, predictions from outputs, correctness from labels and predictions. Attributes may
        be a mapping of columns, a pyarrow table or a pandas frame.

        Raises ValueError, naming the array and the row, for: no rows, lengths or shapes that differ, NaN or
        infinite values, counts that are not positive, ids that repeat, labels that are missing, outside the
        classes, or of another form than the task's.
        """
        x = _floats("embeddings", embeddings, dims=2)
        n = len(x)
        if n == 0:
            raise ValueError("embeddings are empty: there is nothing to search")
        if x.shape[1] == 0:
            raise ValueError("embeddings have no columns")
        names = _ids(ids, n)
        check_finite("embeddings", x, names)

        y = None if losses is None else _column("losses", _floats("losses", losses, dims=1), n, names)
        z = None if outputs is None else _column("outputs", _floats("outputs", outputs, dims=2), n, names)
        labels, predictions, task = _indices(labels, predictions, z, n, names, task)
        right = None if correct is None else _booleans(correct, n, names)
        multiplicity = None if counts is None else _counts(counts, n, names)
        table = _table(attributes, n)

        if z is not None and task is not None:
            import torch

            logits = torch.from_numpy(np.ascontiguousarray(z))
            if predictions is None:
                predictions = task.predict(logits).numpy()
            if y is None and labels is not None:
                y = task.losses(logits, torch.from_numpy(labels)).numpy()
        if right is None and labels is not None and predictions is not None:
            same = labels == predictions
            right = same if same.ndim == 1 else same.all(axis=1)
        return cls(
            names, x, y, labels, z, predictions, right, multiplicity, table, task, dict(manifest or {})
        )

    @classmethod
    def load(cls, path: str | Path) -> Predictions:
        """Open a store folder (memory-mapped) or a file: `.npz`, `.parquet`, or `.safetensors` with a `.csv`."""
        path = Path(path)
        if path.is_dir():
            from weakspot.predictions.store import read

            return read(path)
        from weakspot.predictions.files import read_file

        return read_file(path)

    def save(self, folder: str | Path) -> Path:
        """Write a store folder; the manifest comes last, so a folder without one is no record."""
        from weakspot.predictions.store import write

        return write(self, Path(folder))


class NotFiniteError(ValueError):
    """A number that is none: NaN or infinity where a method needs a value."""


def check_finite(name: str, array: np.ndarray, ids: np.ndarray) -> None:
    """Raise NotFiniteError naming the first row of `array` that holds NaN or infinity; a bounded extra memory."""
    for start in range(0, len(array), _ROWS_PER_CHECK):
        finite = np.isfinite(array[start : start + _ROWS_PER_CHECK])
        if not finite.all():
            rows = finite if finite.ndim == 1 else finite.reshape(len(finite), -1).all(axis=1)
            row = start + int(np.argmin(rows))
            raise NotFiniteError(
                f"{name}: row {row} (id {ids[row]}) holds NaN or infinity; repair or leave out the row"
            )


def _floats(name: str, values: Any, dims: int) -> np.ndarray:
    if hasattr(values, "detach"):  # a tensor, on whatever device
        values = values.detach().cpu()
        if values.is_floating_point() and values.dtype.itemsize < 4:  # NumPy has no bfloat16
            values = values.float()
        values = values.numpy()
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be numbers, not {array.dtype}")
    if array.ndim != dims:
        raise ValueError(f"{name} must have {dims} dimension{'s' * (dims > 1)}, not shape {array.shape}")
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)


def _column(name: str, array: np.ndarray, n: int, ids: np.ndarray) -> np.ndarray:
    if len(array) != n:
        raise ValueError(f"{name} has {len(array)} rows but embeddings have {n}")
    check_finite(name, array, ids)
    return array


def _ids(ids: Any, n: int) -> np.ndarray:
    if ids is None:
        return np.arange(n).astype(str)
    names = np.asarray(ids).astype(str)
    if names.shape != (n,):
        raise ValueError(f"ids have shape {names.shape} but embeddings have {n} rows")
    unique, count = np.unique(names, return_counts=True)
    if len(unique) < n:
        repeated = str(unique[np.argmax(count > 1)])
        rows = np.flatnonzero(names == repeated)[:2].tolist()
        raise ValueError(f"ids must be unique: {repeated!r} stands in rows {rows[0]} and {rows[1]}")
    return names


def _booleans(correct: Any, n: int, ids: np.ndarray) -> np.ndarray:
    right = np.asarray(correct)
    if right.shape != (n,):
        raise ValueError(f"correct has shape {right.shape} but embeddings have {n} rows")
    if right.dtype != bool:
        bad = ~np.isin(right, (0, 1))
        if bad.any():
            row = int(np.argmax(bad))
            raise ValueError(f"correct: row {row} (id {ids[row]}) is {right[row]}, neither 0 nor 1")
    return right.astype(bool)


def _counts(counts: Any, n: int, ids: np.ndarray) -> np.ndarray:
    weights = _column("counts", _floats("counts", counts, dims=1), n, ids)
    if (weights <= 0).any():
        row = int(np.argmax(weights <= 0))
        raise ValueError(f"counts: row {row} (id {ids[row]}) is {weights[row]:g}; counts must be positive")
    return weights


def _table(attributes: Any, n: int) -> pa.Table:
    if attributes is None:
        return pa.table({})
    if isinstance(attributes, Mapping):
        columns = [(str(name), column) for name, column in attributes.items()]
    else:
        given = attributes if isinstance(attributes, pa.Table) else _frame(attributes)
        columns = list(zip(given.column_names, given.columns, strict=True))
    names = [name for name, _ in columns]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"there are two attributes {twice!r}; rename or leave out one of them")
    made = [_attribute(name, column) for name, column in columns]
    for name, column in zip(names, made, strict=True):
        if len(column) != n:
            raise ValueError(f"attributes have {len(column)} rows in {name!r} but embeddings have {n}")
    table = pa.table(made, names=names)
    taken = [name for name in table.column_names if name in RESERVED]
    if taken:
        raise ValueError(f"attribute {taken[0]!r} has a name the record keeps for itself; rename that column")
    return table


def _frame(attributes: Any) -> pa.Table:
    try:
        return pa.Table.from_pandas(attributes, preserve_index=False)
    except (pa.ArrowException, AttributeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"attributes must be a mapping, a pyarrow table or a pandas frame of plain values: {reason}"
        ) from error


def _attribute(name: str, column: Any) -> pa.Array | pa.ChunkedArray:
    """A column as Arrow keeps it; bytes as text, and half floats, which Parquet's readers lack, as float32."""
    try:
        if not isinstance(column, (pa.Array, pa.ChunkedArray)):
            column = pa.array(np.asarray(column))
        if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
            column = column.cast(pa.string())
        if pa.types.is_float16(column.type):
            column = column.cast(pa.float32())
    except (pa.ArrowException, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"attribute {name!r} cannot be kept: {reason}") from error
    return column


def _indices(
    labels: Any, predictions: Any, outputs: np.ndarray | None, n: int, ids: np.ndarray, task: Task | None
) -> tuple[np.ndarray | None, np.ndarray | None, Task | None]:
    """Labels and predictions as indices, and the task they belong to (inferred where none is given)."""
    given = {"labels": labels, "predictions": predictions}
    arrays = {name: _values(name, values, n, ids) for name, values in given.items() if values is not None}
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) > 1:
        raise ValueError(
            f"labels have shape {arrays['labels'].shape} but predictions {arrays['predictions'].shape}"
        )
    if task is None:
        task = _infer_task(arrays, outputs, n)
    if task is not None and outputs is not None and outputs.shape[1] != task.n_outputs:
        raise ValueError(f"outputs have {outputs.shape[1]} columns but the task has {task.n_outputs} classes")
    for name, array in arrays.items():
        assert task is not None  # inferred where there are labels or predictions
        width = {"multilabel": (task.n_outputs,), "question_answering": (2,)}.get(task.kind, ())
        wanted = (n, *width)
        if array.shape != wanted:
            raise ValueError(
                f"{name} have shape {array.shape}, but a {task.kind} task of {task.n_outputs} classes has {wanted}"
            )
        if isinstance(task, QuestionAnswering):
            continue
        if array.ndim == 2:
            neither = ((array != 0) & (array != 1)).any(axis=1)
            if neither.any():
                row = int(np.argmax(neither))
                raise ValueError(
                    f"{name}: row {row} (id {ids[row]}) is {array[row].tolist()}; a multilabel row holds 0 and 1"
                )
        elif array.dtype.kind == "U":
            position = {text: index for index, text in enumerate(task.classes)}
            unknown = [row for row, text in enumerate(array) if text not in position]
            if unknown:
                row = unknown[0]
                known = ", ".join(task.classes[:10])
                raise ValueError(f"{name}: row {row} (id {ids[row]}) is {array[row]!r}, not one of: {known}")
            arrays[name] = np.array([position[text] for text in array], dtype=np.int64)
        else:
            outside = (array < 0) | (array >= task.n_outputs)
            if outside.any():
                row = int(np.argmax(outside))
                raise ValueError(
                    f"{name}: row {row} (id {ids[row]}) is {array[row]}, outside 0…{task.n_outputs - 1}"
                )
    return arrays.get("labels"), arrays.get("predictions"), task


def _values(name: str, values: Any, n: int, ids: np.ndarray) -> np.ndarray:
    """Labels or predictions as texts (n,) or as integers, (n,) or (n, C)."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    array = np.asarray(values)
    if array.ndim not in (1, 2):
        raise ValueError(
            f"{name} must be one value per row, or one per row and class, not of shape {array.shape}"
        )
    if len(array) != n:
        raise ValueError(f"{name} has {len(array)} rows but embeddings have {n}")
    if array.dtype.kind in "OSU":
        return _texts(name, array, ids)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be class indices or names, not {array.dtype}")
    if array.dtype.kind == "f":
        check_finite(name, array, ids)
        if (array != np.round(array)).any():
            raise ValueError(f"{name} must be class indices or names, not fractions")
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


def _infer_task(arrays: Mapping[str, np.ndarray], outputs: np.ndarray | None, n: int) -> Task | None:
    if not arrays:
        return Classification(tuple(map(str, range(outputs.shape[1])))) if outputs is not None else None
    first = next(iter(arrays.values()))
    if first.ndim == 2:
        return Multilabel(tuple(map(str, range(first.shape[1]))))
    texts = [set(array.tolist()) for array in arrays.values() if array.dtype.kind == "U"]
    if texts:
        return Classification(tuple(sorted(set().union(*texts))))
    if outputs is not None:
        return Classification(tuple(map(str, range(outputs.shape[1]))))
    largest = max(int(array.max()) for array in arrays.values())
    if largest > 10 * n + 1000:
        raise ValueError(
            f"the largest class index is {largest} in {n} rows; give the labels as names (texts), or the task="
        )
    return Classification(tuple(map(str, range(largest + 1))))
