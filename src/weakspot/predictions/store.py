"""The store: a folder for each record, written shard by shard, then joined; its manifest marks it as complete.

shards/               written while inference runs (see `weakspot.predictions.shards`), removed after the join
arrays.safetensors    embeddings and outputs, memory-mapped when read
records.parquet       ids, labels, predictions, correct, losses, counts, attributes
manifest.json         written last: a folder without it is incomplete; it has a seal (see `weakspot.predictions.seals`)
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from weakspot.predictions.arrow_columns import text_array, value_array
from weakspot.predictions.atomic_files import atomic_file, atomic_folder, writing
from weakspot.predictions.attribute_tables import RESERVED_NAMES
from weakspot.predictions.reading import read_manifest, read_parquet, reading
from weakspot.predictions.record import Predictions
from weakspot.predictions.safetensors_maps import create_arrays, flush, open_arrays
from weakspot.predictions.seals import add_seal, check_checksum, check_seal, without_seal
from weakspot.predictions.shards import FOLDER as SHARDS
from weakspot.predictions.shards import SETTING, finished_rows, sound_shards
from weakspot.predictions.validation import check_finite
from weakspot.tasks import Task

FORMAT = 1
MANIFEST = "manifest.json"
_ARRAYS = "arrays.safetensors"
_RECORDS = "records.parquet"
_REMEDY = "delete the folder and run infer.py, or save the record again"
_COLUMNS = {
    "id": "ids",
    "label": "labels",
    "prediction": "predictions",
    "correct": "correct",
    "loss": "losses",
    "count": "counts",
}


def is_complete(folder: Path) -> bool:
    """Return whether a folder holds a complete record, that is, one with a manifest."""
    return (folder / MANIFEST).is_file()


def join(
    folder: Path, ids: np.ndarray, attributes: pa.Table, task: Task, manifest: Mapping[str, Any]
) -> Predictions:
    """Join the shards in a folder by row index, complete the record, and return it.

    Embeddings and outputs are copied from map to map, so that memory stays constant for any number of rows. If a row
    was inferred twice, the newest shard counts.

    Args:
        folder: The record's folder.
        ids: The ids of all rows, (n,).
        attributes: The attributes of all rows.
        task: What the model was asked to predict.
        manifest: Where the record comes from.

    Raises:
        ValueError: A row is missing, or its values do not pass the checks; the record then stays incomplete.
        OSError: The disk is full or not writable; the message says what to do.
    """
    n = len(ids)
    missing = np.setdiff1d(np.arange(n), finished_rows(folder, n))
    if len(missing):
        raise ValueError(
            f"{folder}: {len(missing)} of {n} rows have not been inferred, the first of them {missing[0]}; "
            "run the same command again to continue from there"
        )
    with writing(folder, SETTING):
        with atomic_file(folder / _ARRAYS) as draft:
            short = _copy_shards(folder, ids, draft)
        record = _checked(open_arrays(folder / _ARRAYS), {"ids": ids, **short}, attributes, task, manifest)
        _write_records(folder / _RECORDS, record)
        written = _write_manifest(folder, record)
        shutil.rmtree(folder / SHARDS)
    return replace(record, manifest=written)


def _copy_shards(folder: Path, ids: np.ndarray, draft: Path) -> dict[str, np.ndarray]:
    """Write the embeddings and outputs of all shards to a file, and return the columns with one value per row."""
    long: dict[str, np.ndarray] = {}
    short: dict[str, np.ndarray] = {}
    for arrays in sound_shards(folder, len(ids)):
        if not long:
            shapes = {name: (array.dtype, (len(ids), *array.shape[1:])) for name, array in arrays.items()}
            long = create_arrays(draft, {name: shapes[name] for name in ("embeddings", "outputs")})
            short = {
                name: np.empty(shapes[name][1], shapes[name][0])
                for name in _COLUMNS.values()
                if name in shapes
            }
        index = np.array(arrays["index"])
        check_finite("embeddings", arrays["embeddings"], ids[index])
        for name, target in (long | short).items():
            target[index] = arrays[name]
    flush(long)
    return short


def write(predictions: Predictions, folder: Path) -> Path:
    """Write a record from memory and return its folder; an earlier record there is replaced at the end.

    Raises:
        FileExistsError: The folder holds something else.
        OSError: The disk is full or not writable; the message says what to do.
    """
    arrays = {"embeddings": predictions.embeddings, "outputs": predictions.outputs}
    present = {name: np.asarray(array) for name, array in arrays.items() if array is not None}
    with atomic_folder(folder, required_files=(MANIFEST, _RECORDS)) as draft:
        maps = create_arrays(
            draft / _ARRAYS, {name: (array.dtype, array.shape) for name, array in present.items()}
        )
        for name, target in maps.items():
            target[:] = present[name]
        flush(maps)
        _write_records(draft / _RECORDS, predictions)
        _write_manifest(draft, predictions)
    return folder


def read(folder: Path) -> Predictions:
    """Return a complete record; embeddings and outputs stay on disk until they are used.

    Files are compared with their checksums, and their content is checked as in `from_arrays`.

    Raises:
        FileNotFoundError: There is no record, or one of its files is missing.
        DamagedError: A file differs from what was written, or its content does not pass the checks; the error names
            the file.
    """
    if not is_complete(folder):
        records = sorted(path.name for path in folder.glob("*") if (path / _RECORDS).is_file())
        remedy = (
            f"name one of the records in it: {', '.join(records[:3])}"
            if records
            else "run infer.py to make it"
        )
        raise FileNotFoundError(
            f"{folder} is not a complete record of predictions ({MANIFEST} is missing); {remedy}"
        )
    if (folder / "model.ckpt").is_file():
        raise FileNotFoundError(
            f"{folder} is a checkpoint; infer.py writes its predictions to another folder"
        )
    for name in (_ARRAYS, _RECORDS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} lacks {name} of its predictions; {_REMEDY}")
    manifest = read_manifest(folder / MANIFEST, FORMAT, {"n": int, "task": dict | None})
    if "seal" in manifest:
        check_seal(folder / MANIFEST, manifest, (_ARRAYS, _RECORDS), _REMEDY)
    elif "checksums" in manifest:  # earlier versions wrote no seals, and the first no checksums
        for name in (_ARRAYS, _RECORDS):
            check_checksum(folder / MANIFEST, manifest["checksums"], name, _REMEDY)
    manifest = without_seal(manifest)
    with reading(folder / MANIFEST, "task"):
        task = _task(manifest["task"])
    arrays, table = open_arrays(folder / _ARRAYS), read_parquet(folder / _RECORDS)
    with reading(folder / _ARRAYS):
        if set(arrays) - {"outputs"} != {"embeddings"}:
            raise ValueError(
                f"it must hold embeddings and perhaps outputs, not {', '.join(arrays) or 'nothing'}"
            )
    for path, length in ((_ARRAYS, len(arrays["embeddings"])), (_RECORDS, len(table))):
        with reading(folder / path):
            if length != manifest["n"]:
                raise ValueError(f"it has {length} rows, but {MANIFEST} says {manifest['n']}")
    short = {}
    for name, field in _COLUMNS.items():
        if name in table.column_names:
            with reading(folder / _RECORDS, name):
                short[field] = text_array(table[name]) if field == "ids" else value_array(table[name])
    attributes = table.drop_columns([name for name in table.column_names if name in RESERVED_NAMES])
    with reading(folder):
        return _checked(arrays, short, attributes, task, manifest)


def _checked(
    long: Mapping[str, np.ndarray],
    short: Mapping[str, np.ndarray],
    attributes: pa.Table,
    task: Task | None,
    manifest: Mapping[str, Any],
) -> Predictions:
    arrays: dict[str, Any] = {**long, **short}
    return Predictions.from_arrays(
        **arrays, attributes=attributes, task=task, manifest=manifest, outputs_are="logits"
    )


def _task(stored: Mapping[str, Any] | None) -> Task | None:
    if stored is None:
        return None
    if not isinstance(stored.get("classes"), list) or not all(
        type(name) is str for name in stored["classes"]
    ):
        raise ValueError("its classes must be a list of names")
    task = Task.from_dict(stored)
    for setting in fields(task):
        value, default = getattr(task, setting.name), setting.default
        if default is not MISSING and (
            type(value) is not type(default) or (type(value) is int and value < 1)
        ):
            raise ValueError(f"its {setting.name} is {value!r}")
    return task


def _write_records(path: Path, record: Predictions) -> None:
    arrays = {name: getattr(record, field) for name, field in _COLUMNS.items()}
    table = pa.table({name: _column(array) for name, array in arrays.items() if array is not None})
    for name in record.attributes.column_names:
        table = table.append_column(name, record.attributes[name])
    with atomic_file(path) as draft:
        pq.write_table(table, draft)


def _write_manifest(folder: Path, record: Predictions) -> dict[str, Any]:
    """Write the manifest, which makes a folder a complete record, and return it."""
    created = {"created": datetime.now(UTC).isoformat(timespec="seconds")}
    own = {
        "format": FORMAT,
        "n": len(record),
        "task": record.task.to_dict() if record.task else None,
    }
    text = json.dumps(created | without_seal(record.manifest) | own, indent=1) + "\n"
    with atomic_file(folder / MANIFEST) as draft:
        draft.write_text(
            add_seal(text.encode(), [folder / name for name in (_ARRAYS, _RECORDS)]).decode(), newline="\n"
        )
    written: dict[str, Any] = json.loads(text)
    return written


def _column(array: np.ndarray) -> pa.Array:
    if array.dtype.kind == "U":
        # from a NumPy array of texts, Arrow drops what follows a null character
        return pa.array(array.tolist(), pa.string())
    if array.ndim == 1:
        return pa.array(array)
    return pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), array.shape[1])
