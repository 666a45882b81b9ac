"""Anyone's own embeddings and losses, from a file: `.npz`, `.parquet`, or `.safetensors` beside a `.csv`.

A reader turns its kind of file into named columns; `_record` alone knows what the names mean. Nothing is ever
unpickled.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open

from weakspot.predictions.columns import values
from weakspot.predictions.record import Predictions

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
"""What a column may be called, and which argument of `Predictions.from_arrays` it is."""

_NEVER_MEANT = ("ids", "counts")  # too near to common words: a column 'country' is no misspelt 'count'
_NUMBERED = re.compile(r"(embeddings?|outputs?|logits)_(\d+)")


def read_file(path: str | Path) -> Predictions:
    """Predictions from a user's own file; a column that is no part of the record becomes an attribute.

    Raises FileNotFoundError or ValueError, naming the file and the column, key or row, where something is
    missing, misspelt, of the wrong shape, or not a finite number.
    """
    path = Path(path)
    readers = {".npz": _npz, ".parquet": _parquet, ".safetensors": _safetensors}
    if path.suffix not in readers:
        raise ValueError(f"{path}: predictions are a folder or a file ending in {', '.join(readers)}")
    if not path.is_file():
        raise FileNotFoundError(f"no predictions at {path}")
    try:
        return _record(readers[path.suffix](path), source=path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _npz(path: Path) -> Columns:
    if not zipfile.is_zipfile(path):
        raise ValueError("this is no .npz archive; make one with numpy.savez(file, embeddings=…, losses=…)")
    columns: Columns = {}
    with np.load(path, allow_pickle=False) as file:
        for key in file.files:
            try:
                array = np.asarray(file[key])
            except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
                reason = "it holds Python objects; save texts with array.astype(str)"
                raise ValueError(
                    f"key {key!r} cannot be read: {reason if 'pickle' in str(error) else error}"
                ) from error
            columns[key] = np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array
    return columns


def _parquet(path: Path) -> Columns:
    """The table, and where it holds no embeddings the arrays of the `.safetensors` beside it."""
    columns = _table(path)
    arrays = path.with_suffix(".safetensors")
    holds_embeddings = any(SPELLINGS.get(name) == "embeddings" for name in columns)
    return columns if holds_embeddings or not arrays.is_file() else _join(columns, _arrays(arrays))


def _safetensors(path: Path) -> Columns:
    """The arrays, and the columns of the `.csv` or `.parquet` beside them: safetensors has numbers only."""
    tables = [table for table in (path.with_suffix(".csv"), path.with_suffix(".parquet")) if table.is_file()]
    if len(tables) > 1:
        raise ValueError(
            f"both {tables[0].name} and {tables[1].name} lie beside it; remove the one not meant"
        )
    return _join(_table(tables[0]), _arrays(path)) if tables else _arrays(path)


def _arrays(path: Path) -> Columns:
    """Arrays that stay on disk until they are used: safetensors maps them for torch, for NumPy it copies."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no dict)
    except SafetensorError as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.dtype.itemsize < 4:  # NumPy has no bfloat16
            tensors[name] = tensor.float()
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _table(path: Path) -> Columns:
    try:
        if path.suffix == ".csv":
            texts = pa.csv.ConvertOptions(column_types={"id": pa.string(), "ids": pa.string()})
            table = pa.csv.read_csv(path, convert_options=texts)
        else:
            table = pq.read_table(path, memory_map=True)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from error
    if table.num_rows == 0:
        raise ValueError(f"{path.name} has no rows")
    columns: Columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        columns = _join(columns, {name: column})
    return _gather(columns)


def _join(columns: Columns, more: Columns) -> Columns:
    twice = next((name for name in columns if name in more), None)
    if twice is not None:
        raise ValueError(f"there are two columns {twice!r}; keep one of them")
    return columns | more


def _gather(columns: Columns) -> Columns:
    """Columns `embedding_0`, `embedding_1`… as one, `embedding`; outputs likewise."""
    stems: dict[str, dict[int, Any]] = {}
    for name, column in columns.items():
        if match := _NUMBERED.fullmatch(name):
            stems.setdefault(match[1], {})[int(match[2])] = _values(name, column)
    whole = {name: column for name, column in columns.items() if not _NUMBERED.fullmatch(name)}
    for stem, parts in stems.items():
        first = min(1, *parts)  # counted from 0, or from 1
        missing = set(range(first, first + len(parts))) - set(parts)
        if missing:
            raise ValueError(f"column '{stem}_{min(missing)}' is missing; there is one '{stem}_{max(parts)}'")
        whole = _join(whole, {stem: np.column_stack([parts[number] for number in sorted(parts)])})
    return whole


def _record(columns: Columns, source: Path) -> Predictions:
    fields: Columns = {}
    for name, column in columns.items():
        if name in SPELLINGS:
            fields = _join(fields, {SPELLINGS[name]: _values(name, column)})
    others = {name: column for name, column in columns.items() if name not in SPELLINGS}
    lacking = [known for known, field in SPELLINGS.items() if field not in (*fields, *_NEVER_MEANT)]
    for name in others:
        if meant := get_close_matches(name.lower(), lacking, n=1, cutoff=0.8):
            raise ValueError(
                f"{name!r} is unknown; did you mean {meant[0]!r}? If it is an attribute, rename it"
            )
    if "embeddings" not in fields:
        raise ValueError(f"there are no 'embeddings', only: {', '.join(list(columns)[:20]) or 'nothing'}")
    rows = fields["embeddings"].shape[:1]
    for name, column in others.items():
        shape = column.shape if isinstance(column, np.ndarray) else (len(column),)
        if shape != rows:
            raise ValueError(
                f"{name!r} has shape {shape}; an attribute has one value for each row, {rows} here"
            )
    attributes = pa.table(others)
    return Predictions.from_arrays(**fields, attributes=attributes, manifest={"source": str(source)})


def _values(name: str, column: Any) -> np.ndarray:
    """A column of the record as an array, (n,) or, of lists, (n, d); none of its values may be missing."""
    if isinstance(column, np.ndarray):
        return column
    try:
        return values(column)
    except ValueError as error:
        raise ValueError(f"column {name!r} cannot be read: {error}") from error
