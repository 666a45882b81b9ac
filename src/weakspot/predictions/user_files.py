"""A reader for users' own files of embeddings and losses: `.npz`, `.parquet`, `.csv`, `.jsonl` or `.safetensors`.

Each format's reader returns named columns; only `_record` interprets the names. Nothing is ever unpickled: the `.pkl`
files of the published Spotlight tool have their own reader, which runs no code.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import safe_open

from weakspot.predictions import boxes, score_columns
from weakspot.predictions.arrow_columns import holds_encoded_images, value_array
from weakspot.predictions.csv_files import read_csv
from weakspot.predictions.json_lines import SUFFIX, read_json_lines
from weakspot.predictions.npz import read_npz
from weakspot.predictions.reading import DamagedError, naming, read_parquet, reading
from weakspot.predictions.record import Predictions
from weakspot.predictions.spotlight_inference import read_inference
from weakspot.tasks import Task

log = logging.getLogger(__name__)

Columns = dict[str, Any]
"""NumPy arrays or pyarrow columns, by the file's own names."""

SPELLINGS = {
    "id": "ids",
    "ids": "ids",
    "embedding": "embeddings",
    "embeddings": "embeddings",
    "output": "outputs",
    "outputs": "outputs",
    "logits": "outputs",
    "probabilities": "outputs",
    "probs": "outputs",
    "loss": "losses",
    "losses": "losses",
    "label": "labels",
    "labels": "labels",
    "prediction": "predictions",
    "predictions": "predictions",
    "correct": "correct",
    "count": "counts",
    "counts": "counts",
}
"""The names that a column may have, and the argument of `Predictions.from_arrays` that it becomes."""

PROBABILITIES = ("probabilities", "probs")
"""The names of outputs that are probabilities, without `outputs_are`."""

_OUTPUTS_IN_PARTS = re.compile(
    r"(probabilities|probability|probs?|proba|softmax|outputs?|logits?|scores)_(.+)", re.IGNORECASE
)
"""Columns that look like a model's outputs, one for each class."""

IMAGE = "image"
"""The column of images: paths, or encoded images in Parquet."""

# Too close to common words: a column 'country' is not a misspelt 'count'.
_NEVER_MISSPELT = ("ids", "counts", *PROBABILITIES)
_PICKLES = (".pkl", ".pickle")
_TABLES = (".csv", ".parquet", SUFFIX)
# the columns of a scale, with the defaults of its ends
_SCALE = dict(zip(score_columns.NAMES, (None, 0.0, 1.0), strict=True))
_LONGEST_MISSPELT = 40  # characters; a longer name is not a misspelt one
_NUMBERED = re.compile(r"(embeddings?|outputs?|logits|probabilities|probs)_(\d+)")


def read_file(path: str | Path, outputs_are: str | None = None, task: Task | None = None) -> Predictions:
    """Return the predictions in a user's own file; a column that is not part of the record becomes an attribute.

    Args:
        path: The file.
        outputs_are: "logits" or "probabilities", as in `Predictions.from_arrays`.
        task: The task, if the arrays do not determine it.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Something cannot be read, is missing, misspelt, of the wrong shape, or not a finite number; the
            error names the file and the column, key or row.
    """
    path = Path(path)
    readers = {".npz": read_npz, ".safetensors": _safetensors} | dict.fromkeys(_TABLES, _with_arrays)
    known = (*readers, *_PICKLES)
    if path.suffix not in known:
        there = "" if path.exists() else "; this one does not exist"
        raise ValueError(f"{path}: predictions are a folder or a file ending in {', '.join(known)}{there}")
    if not path.is_file():
        raise FileNotFoundError(f"no predictions at {path}")
    if path.suffix in _PICKLES:
        if outputs_are is not None:
            raise ValueError(
                f"{path}: the published tool says what outputs are: leave out outputs_are={outputs_are}"
            )
        if task is not None:
            raise ValueError(f"{path}: the published tool saves its classes: leave out task={task.kind}")
        return read_inference(path)
    columns = readers[path.suffix](path)
    with reading(path), naming(path):
        return _record(columns, path, outputs_are, task)


def _with_arrays(path: Path) -> Columns:
    """Return the table's columns, with the arrays of the `.safetensors` beside it if it holds no embeddings."""
    columns = _table(path)
    arrays = path.with_suffix(".safetensors")
    holds_embeddings = any(SPELLINGS.get(name) == "embeddings" for name in columns)
    if holds_embeddings or not arrays.is_file():
        return columns
    with naming(path):
        return _side_by_side(path, columns, arrays)


def _safetensors(path: Path) -> Columns:
    """Return the arrays, with the columns of the table beside them: safetensors holds numbers only."""
    tables = [table for table in map(path.with_suffix, _TABLES) if table.is_file()]
    with naming(path):
        if len(tables) > 1:
            raise ValueError(f"both {tables[0].name} and {tables[1].name} lie beside it; remove one of them")
        return _side_by_side(tables[0], _table(tables[0]), path) if tables else _arrays(path)


def _side_by_side(table: Path, columns: Columns, path: Path) -> Columns:
    """Return the columns of a table and the arrays of a file that has the same rows."""
    arrays = _arrays(path)
    rows = len(next(iter(columns.values())))
    for name, array in arrays.items():
        if SPELLINGS.get(name) == "embeddings" and array.ndim > 0 and len(array) != rows:
            raise DamagedError(
                f"{table} has {rows} rows, but {path} has {len(array)} ({name}); give both the same examples, in the "
                "same order"
            )
    return _join(columns.items(), arrays.items())


def _arrays(path: Path) -> Columns:
    """Return the arrays as memory maps, so that they stay on disk until they are used.

    They are opened for torch, because safetensors copies arrays for NumPy.
    """
    arrays: Columns = {}
    with reading(path), safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118  (it is not a dict)
            with reading(path, name):
                tensor = file.get_tensor(name)
                if tensor.is_floating_point() and tensor.dtype.itemsize < 4:  # NumPy has no bfloat16
                    tensor = tensor.float()
                arrays[name] = tensor.numpy()
    return arrays


def _table(path: Path) -> Columns:
    if path.suffix == ".csv":
        table = read_csv(path, texts=("id", "ids"))
    elif path.suffix == SUFFIX:
        table = read_json_lines(path, complete=(*SPELLINGS, *score_columns.NAMES))
    else:
        table = read_parquet(path, leave_out=_encoded_images(path))
    with naming(path):
        if table.num_rows == 0:
            raise ValueError("it has no rows")
        return _join_numbered_columns(_join(zip(table.column_names, table.columns, strict=True)))


def _encoded_images(path: Path) -> list[str]:
    """Return the column of encoded images, if there is one: these are previews, read only when they are shown."""
    with reading(path):
        return [f.name for f in pq.read_schema(path) if f.name == IMAGE and holds_encoded_images(f.type)]


def _join(*parts: Iterable[tuple[str, Any]]) -> Columns:
    columns: Columns = {}
    for name, column in itertools.chain(*parts):
        if name in columns:
            raise ValueError(f"there are two columns {name!r}; keep one of them")
        columns[name] = column
    return columns


def _join_numbered_columns(columns: Columns) -> Columns:
    """Join the columns `embedding_0`, `embedding_1`… into one, `embedding`, and likewise for outputs."""
    stems: dict[str, dict[int, Any]] = {}
    for name, column in columns.items():
        if match := _NUMBERED.fullmatch(name):
            parts, number = stems.setdefault(match[1], {}), int(match[2])
            if number in parts:
                raise ValueError(f"{name!r} is the second column of number {number}; keep one of them")
            parts[number] = _values(name, column)
    joined = [(name, column) for name, column in columns.items() if not _NUMBERED.fullmatch(name)]
    for stem, parts in stems.items():
        first = min(1, *parts)  # columns count from 0 or from 1
        missing = next((number for number in range(first, first + len(parts)) if number not in parts), None)
        if missing is not None:
            raise ValueError(f"column '{stem}_{missing}' is missing, although there is '{stem}_{max(parts)}'")
        joined.append((stem, np.column_stack([parts[number] for number in sorted(parts)])))
    return _join(joined)


def _record(columns: Columns, source: Path, outputs_are: str | None, task: Task | None) -> Predictions:
    if any(not name.strip() for name in columns):
        log.warning("%s: a column without a name is left out (the index of a pandas frame?)", source)
        columns = {name: column for name, column in columns.items() if name.strip()}
    columns = _with_box_columns(columns)
    names: dict[str, str] = {}  # of the columns, by field
    for name in columns:
        if (field := SPELLINGS.get(name)) is not None and names.setdefault(field, name) != name:
            raise ValueError(f"{names[field]!r} and {name!r} both hold {field}; keep one of them")
    fields = {
        field: columns[name] if _is_ordered(columns[name]) else _values(name, columns[name])
        for field, name in names.items()
    }
    outputs_name = names.get("outputs", "")
    if outputs_name in PROBABILITIES:
        if outputs_are == "logits":
            raise ValueError(
                f"{outputs_name!r} are not logits: leave out outputs_are=logits, or rename them 'logits'"
            )
        _check_one_column(outputs_name, fields)
        outputs_are = "probabilities"
    others = {name: column for name, column in columns.items() if name not in SPELLINGS}
    if "outputs" not in fields:
        _check_no_outputs_in_parts(others)
    absent = [
        known
        for known, field in SPELLINGS.items()
        if field not in fields and not {known, field} & {*_NEVER_MISSPELT}
    ]
    for name in others:
        if len(name) <= _LONGEST_MISSPELT and (
            close := get_close_matches(name.lower(), absent, n=1, cutoff=0.8)
        ):
            raise ValueError(
                f"{name!r} is unknown; did you mean {close[0]!r}? If it is an attribute, rename it"
            )
    if "embeddings" not in fields:
        advice = f"; for a table of images or texts, compute them with dataset=csv dataset.file={source}"
        raise ValueError(
            f"there are no 'embeddings', only: {', '.join(list(columns)[:20]) or 'nothing'}"
            f"{advice if source.suffix in _TABLES else ''}"
        )
    rows = fields["embeddings"].shape[:1]
    if "score" in others and not score_columns.determines_losses(fields):
        given = [_values(name, others.pop(name)) if name in others else end for name, end in _SCALE.items()]
        fields["losses"], passed = score_columns.losses_of_scores(*given)
        fields.setdefault("correct", passed)
    for name, column in others.items():
        shape = column.shape if isinstance(column, np.ndarray) else (len(column),)
        if shape != rows:
            outputs = ""
            if len(shape) == 2 and shape[:1] == rows and "outputs" not in fields:
                outputs = "; if these are a model's outputs, name them 'probabilities' or 'logits'"
            raise ValueError(
                f"{name!r} has shape {shape}; an attribute has one value for each row, {rows} here{outputs}"
            )
    try:
        return Predictions.from_arrays(
            **fields, attributes=others, task=task, manifest={"source": str(source)}, outputs_are=outputs_are
        )
    except ValueError as error:
        if outputs_name in PROBABILITIES and str(error).startswith("outputs"):
            raise ValueError(f"{outputs_name}{str(error).removeprefix('outputs')}") from error
        raise


def _check_one_column(name: str, fields: Mapping[str, Any]) -> None:
    """Raise ValueError if one column of probabilities may be those of the predictions, or cannot be of two classes."""
    outputs = np.asarray(fields["outputs"])
    if outputs.ndim > 1 and outputs.shape[1] != 1:
        return
    labels = np.asarray(fields.get("labels", ()))
    two_classes = labels.dtype.kind not in "iuf" or bool(np.isin(labels, (0, 1)).all())
    if {"predictions", "correct", "losses"} & fields.keys() or not two_classes:
        raise ValueError(
            f"{name!r} has one column, which is read as the probability of the second of two classes, with labels 0 "
            "and 1 or two names; give a column per class, or rename it if it is the probability of each prediction"
        )


def _check_no_outputs_in_parts(columns: Columns) -> None:
    """Raise ValueError if there are outputs in columns such as `prob_cat`: as attributes they would name findings."""
    parts: dict[str, list[str]] = {}
    for name in columns:
        if match := _OUTPUTS_IN_PARTS.fullmatch(name):
            parts.setdefault(match[1], []).append(name)
    for stem, names in parts.items():
        if len(names) > 1:
            raise ValueError(
                f"{names[0]!r}, {names[1]!r} … look like a model's outputs: name them probabilities_0, "
                "probabilities_1 … (or logits_0 …) in the order of the classes; if they are attributes, rename them to "
                f"something that does not begin with {stem}_"
            )


def _with_box_columns(columns: Columns) -> Columns:
    """Replace a column `box` of lists by four columns."""
    box = columns.get("box")
    if isinstance(box, np.ndarray):
        is_list = box.ndim == 2
    else:
        is_list = box is not None and pa.types.is_nested(box.type) and not pa.types.is_struct(box.type)
    if not is_list:
        return columns
    others = ((name, column) for name, column in columns.items() if name != "box")
    return _join(others, boxes.box_columns(box).items())


def _is_ordered(column: Any) -> bool:
    """Return whether a column is an ordered categorical, whose order numbers the classes."""
    return isinstance(column, pa.ChunkedArray) and pa.types.is_dictionary(column.type) and column.type.ordered


def _values(name: str, column: Any) -> Any:
    """Return a column of the record as an array, (n,), or (n, d) for lists; no value may be missing."""
    if isinstance(column, np.ndarray):
        return column
    try:
        return value_array(column)
    except ValueError as error:
        raise ValueError(f"column {name!r} cannot be read: {error}") from error
