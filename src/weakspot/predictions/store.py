"""The store: one folder per record, written shard by shard, joined once, complete when its manifest is there.

shards/rank0-000000.safetensors   as inference goes; each row carries its index; gone after the join
arrays.safetensors                embeddings and outputs, memory-mapped when read
records.parquet                   ids, labels, predictions, correct, losses, counts, attributes
manifest.json                     last: no manifest, no record
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from weakspot.predictions.arrays import create_arrays, open_arrays
from weakspot.predictions.folders import replaced
from weakspot.predictions.reading import read_manifest, read_parquet
from weakspot.predictions.record import Predictions
from weakspot.predictions.tables import RESERVED
from weakspot.predictions.validation import check_finite
from weakspot.tasks import Task

FORMAT = 1
MANIFEST = "manifest.json"
_ARRAYS = "arrays.safetensors"
_RECORDS = "records.parquet"
_COLUMNS = {
    "label": "labels",
    "prediction": "predictions",
    "correct": "correct",
    "loss": "losses",
    "count": "counts",
}


def is_complete(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()


def write_shard(folder: Path, rank: int, arrays: Mapping[str, np.ndarray]) -> None:
    """Add rows to an unfinished record: `index` (their positions), embeddings, outputs, labels, predictions,
    correct, losses. The shard appears whole or not at all.
    """
    shards = folder / "shards"
    shards.mkdir(parents=True, exist_ok=True)
    number = len(list(shards.glob(f"rank{rank}-*.safetensors")))
    draft = shards / f"rank{rank}.part"
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, draft)
    os.replace(draft, shards / f"rank{rank}-{number:06d}.safetensors")


def finished_rows(folder: Path) -> np.ndarray:
    """Positions of the rows that an interrupted run has left, sorted."""
    rows = [np.array(arrays["index"]) for arrays in _shards(folder)]
    return np.unique(np.concatenate(rows)) if rows else np.zeros(0, dtype=np.int64)


def gather(folder: Path, name: str, n: int) -> np.ndarray | None:
    """A short column of an unfinished record, in the order of its n rows, NaN in those whose shards lack it; None
    where every shard does."""
    column: np.ndarray | None = None
    for arrays in _shards(folder):
        if name in arrays:
            if column is None:
                column = np.full((n, *arrays[name].shape[1:]), np.nan, arrays[name].dtype)
            inside = arrays["index"] < n  # `join` refuses the others
            column[arrays["index"][inside]] = arrays[name][inside]
    return column


def join(
    folder: Path, ids: np.ndarray, attributes: pa.Table, task: Task, manifest: Mapping[str, Any]
) -> Predictions:
    """Put the shards together by row index, check that rows are exactly 0…n-1, and complete the record.

    Embeddings and outputs go from map to map: memory stays flat however many rows there are.
    """
    n = len(ids)
    seen = np.zeros(n, dtype=np.int64)
    first: dict[str, np.ndarray] = {}
    for arrays in _shards(folder):
        first = first or arrays
        index = arrays["index"]
        if index.max() >= n:
            raise ValueError(f"{folder}: a shard holds row {index.max()}, but the data set has {n} rows")
        np.add.at(seen, index, 1)
    if not (seen == 1).all():
        row = int(np.argmax(seen != 1))
        raise ValueError(
            f"{folder}: row {row} was inferred {seen[row]} times instead of once; "
            "delete the folder and run infer.py"
        )

    def room(name: str) -> tuple[np.dtype, tuple[int, ...]]:
        return first[name].dtype, (n, *first[name].shape[1:])

    long = create_arrays(folder / f"{_ARRAYS}.part", {name: room(name) for name in ("embeddings", "outputs")})
    short = {name: np.empty(room(name)[1], room(name)[0]) for name in _COLUMNS.values() if name in first}
    for arrays in _shards(folder):
        index = np.array(arrays["index"])
        check_finite("embeddings", arrays["embeddings"], ids[index])
        for name, target in (long | short).items():
            target[index] = arrays[name]
    del long
    os.replace(folder / f"{_ARRAYS}.part", folder / _ARRAYS)
    _write_records(folder, ids, short, attributes)
    _write_manifest(folder, task, manifest, n)
    shutil.rmtree(folder / "shards")
    return read(folder)


def write(predictions: Predictions, folder: Path) -> Path:
    """Write a record held in memory: whole, or not at all. An earlier record there stays until then.

    Raises FileExistsError where the folder holds something else.
    """
    arrays = {"embeddings": predictions.embeddings, "outputs": predictions.outputs}
    present = {name: np.asarray(array) for name, array in arrays.items() if array is not None}
    short = {name: getattr(predictions, name) for name in _COLUMNS.values()}
    columns = {name: array for name, array in short.items() if array is not None}
    with replaced(folder, marks=(MANIFEST, _RECORDS)) as draft:
        for name, target in create_arrays(
            draft / _ARRAYS, {name: (array.dtype, array.shape) for name, array in present.items()}
        ).items():
            target[:] = present[name]
        _write_records(draft, predictions.ids, columns, predictions.attributes)
        _write_manifest(draft, predictions.task, predictions.manifest, len(predictions))
    return folder


def read(folder: Path) -> Predictions:
    """Open a complete record; embeddings and outputs stay on disk until they are used."""
    if not is_complete(folder):
        raise FileNotFoundError(
            f"{folder} is no complete record of predictions ({MANIFEST} is missing); run infer.py to make it"
        )
    manifest = read_manifest(folder / MANIFEST, FORMAT, {"n": int, "task": dict | None})
    arrays = open_arrays(folder / _ARRAYS)
    table = read_parquet(folder / _RECORDS)
    if "embeddings" not in arrays or "id" not in table.column_names:
        raise ValueError(
            f"{folder}: {_ARRAYS} has no embeddings or {_RECORDS} no ids; delete the folder and run infer.py"
        )
    if not manifest["n"] == len(table) == len(arrays["embeddings"]):
        raise ValueError(
            f"{folder}: {_RECORDS} and {_ARRAYS} differ in length; delete the folder and run infer.py"
        )
    try:
        task = Task.from_dict(manifest["task"]) if manifest["task"] else None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / MANIFEST} is damaged, its task is none: {error}") from error
    columns = {field: _array(table[name]) for name, field in _COLUMNS.items() if name in table.column_names}
    return Predictions(
        ids=table["id"].to_numpy().astype(str),
        embeddings=arrays["embeddings"],
        outputs=arrays.get("outputs"),
        attributes=table.drop_columns([name for name in table.column_names if name in RESERVED]),
        task=task,
        manifest=manifest,
        **columns,
    )


def _shards(folder: Path) -> Iterator[dict[str, np.ndarray]]:
    for path in sorted((folder / "shards").glob("rank*-*.safetensors")):
        yield open_arrays(path)


def _write_records(
    folder: Path, ids: np.ndarray, columns: Mapping[str, np.ndarray], attributes: pa.Table
) -> None:
    fields = {name: _column(columns[field]) for name, field in _COLUMNS.items() if field in columns}
    table = pa.table({"id": pa.array(ids), **fields})
    for name in attributes.column_names:
        table = table.append_column(name, attributes[name])
    draft = folder / f"{_RECORDS}.part"
    pq.write_table(table, draft)
    os.replace(draft, folder / _RECORDS)


def _write_manifest(folder: Path, task: Task | None, manifest: Mapping[str, Any], n: int) -> None:
    made = {"created": datetime.now(UTC).isoformat(timespec="seconds")}
    own = {"format": FORMAT, "n": n, "task": task.to_dict() if task else None}
    draft = folder / f"{MANIFEST}.part"
    draft.write_text(json.dumps(made | dict(manifest) | own, indent=1) + "\n")
    os.replace(draft, folder / MANIFEST)


def _column(array: np.ndarray) -> pa.Array:
    if array.ndim == 1:
        return pa.array(array)
    return pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), array.shape[1])


def _array(column: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_fixed_size_list(column.type):
        flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return np.asarray(flat).reshape(len(column), -1)
    return np.asarray(column.to_numpy())
