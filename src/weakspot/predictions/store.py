"""The store: one folder per record, written shard by shard, joined once, complete when its manifest is there.

shards/               as inference goes (see `weakspot.predictions.shards`); gone after the join
arrays.safetensors    embeddings and outputs, memory-mapped when read
records.parquet       ids, labels, predictions, correct, losses, counts, attributes
manifest.json         last: no manifest, no record; it is sealed (see `weakspot.predictions.seals`)
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

from weakspot.predictions.arrays import create_arrays, flush, open_arrays
from weakspot.predictions.columns import texts, values
from weakspot.predictions.folders import replaced, whole_file, writing
from weakspot.predictions.reading import read_manifest, read_parquet, reading
from weakspot.predictions.record import Predictions
from weakspot.predictions.seals import check_seal, check_sum, sealed, without_seal
from weakspot.predictions.shards import FOLDER as SHARDS
from weakspot.predictions.shards import SETTING, finished_rows, sound_shards
from weakspot.predictions.tables import RESERVED
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
    return (folder / MANIFEST).is_file()


def join(
    folder: Path, ids: np.ndarray, attributes: pa.Table, task: Task, manifest: Mapping[str, Any]
) -> Predictions:
    """Put the shards together by row index and complete the record.

    Embeddings and outputs go from map to map: memory stays flat however many rows there are. A row that was
    inferred twice is what it is in the newest shard.

    Raises:
        ValueError: Where a row is missing, or holds what no record can; nothing is complete then.
        OSError: Where the disk is full or refuses, in a sentence that says what to do.
    """
    n = len(ids)
    missing = np.setdiff1d(np.arange(n), finished_rows(folder, n))
    if len(missing):
        raise ValueError(
            f"{folder}: {len(missing)} of {n} rows have not been inferred, the first of them {missing[0]}; "
            "run the same command again, which goes on from there"
        )
    with writing(folder, SETTING):
        with whole_file(folder / _ARRAYS) as draft:
            short = _gather(folder, ids, draft)
        record = _checked(open_arrays(folder / _ARRAYS), {"ids": ids, **short}, attributes, task, manifest)
        _write_records(folder / _RECORDS, record)
        written = _write_manifest(folder, record)
        shutil.rmtree(folder / SHARDS)
    return replace(record, manifest=written)


def _gather(folder: Path, ids: np.ndarray, draft: Path) -> dict[str, np.ndarray]:
    """Write the long arrays of all shards to a file, and return the short ones."""
    long: dict[str, np.ndarray] = {}
    short: dict[str, np.ndarray] = {}
    for arrays in sound_shards(folder, len(ids)):
        if not long:
            rooms = {name: (array.dtype, (len(ids), *array.shape[1:])) for name, array in arrays.items()}
            long = create_arrays(draft, {name: rooms[name] for name in ("embeddings", "outputs")})
            short = {
                name: np.empty(rooms[name][1], rooms[name][0]) for name in _COLUMNS.values() if name in rooms
            }
        index = np.array(arrays["index"])
        check_finite("embeddings", arrays["embeddings"], ids[index])
        for name, target in (long | short).items():
            target[index] = arrays[name]
    flush(long)
    return short


def write(predictions: Predictions, folder: Path) -> Path:
    """Write a record held in memory: whole, or not at all. An earlier record there stays until then.

    Raises:
        FileExistsError: Where the folder holds something else.
        OSError: Where the disk is full or refuses, in a sentence that says what to do.
    """
    arrays = {"embeddings": predictions.embeddings, "outputs": predictions.outputs}
    present = {name: np.asarray(array) for name, array in arrays.items() if array is not None}
    with replaced(folder, marks=(MANIFEST, _RECORDS)) as draft:
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
    """Open a complete record; embeddings and outputs stay on disk until they are used.

    Its files are compared with their checksums, and what they hold passes the checks of `from_arrays`.

    Raises:
        FileNotFoundError: Where there is no record, or a file of it is missing.
        DamagedError: Where a file is not what was written, or holds what no record can; it names the file.
    """
    if not is_complete(folder):
        raise FileNotFoundError(
            f"{folder} is no complete record of predictions ({MANIFEST} is missing); run infer.py to make it"
        )
    for name in (_ARRAYS, _RECORDS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} lacks {name} of its predictions; {_REMEDY}")
    manifest = read_manifest(folder / MANIFEST, FORMAT, {"n": int, "task": dict | None})
    if "seal" in manifest:
        check_seal(folder / MANIFEST, manifest, (_ARRAYS, _RECORDS), _REMEDY)
    elif "checksums" in manifest:  # earlier versions sealed nothing, and the first kept no checksums
        for name in (_ARRAYS, _RECORDS):
            check_sum(folder / MANIFEST, manifest["checksums"], name, _REMEDY)
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
    given = {}
    for name, field in _COLUMNS.items():
        if name in table.column_names:
            with reading(folder / _RECORDS, name):
                given[field] = texts(table[name]) if field == "ids" else values(table[name])
    attributes = table.drop_columns([name for name in table.column_names if name in RESERVED])
    with reading(folder):
        return _checked(arrays, given, attributes, task, manifest)


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


def _task(kept: Mapping[str, Any] | None) -> Task | None:
    if kept is None:
        return None
    if not isinstance(kept.get("classes"), list) or not all(type(name) is str for name in kept["classes"]):
        raise ValueError("its classes must be a list of names")
    task = Task.from_dict(kept)
    for setting in fields(task):
        value, usual = getattr(task, setting.name), setting.default
        if usual is not MISSING and (type(value) is not type(usual) or (type(value) is int and value < 1)):
            raise ValueError(f"its {setting.name} is {value!r}")
    return task


def _write_records(path: Path, record: Predictions) -> None:
    given = {name: getattr(record, field) for name, field in _COLUMNS.items()}
    table = pa.table({name: _column(array) for name, array in given.items() if array is not None})
    for name in record.attributes.column_names:
        table = table.append_column(name, record.attributes[name])
    with whole_file(path) as draft:
        pq.write_table(table, draft)


def _write_manifest(folder: Path, record: Predictions) -> dict[str, Any]:
    """Write what makes a folder a record, and return it."""
    made = {"created": datetime.now(UTC).isoformat(timespec="seconds")}
    own = {
        "format": FORMAT,
        "n": len(record),
        "task": record.task.to_dict() if record.task else None,
    }
    text = json.dumps(made | without_seal(record.manifest) | own, indent=1) + "\n"
    with whole_file(folder / MANIFEST) as draft:
        draft.write_text(
            sealed(text.encode(), [folder / name for name in (_ARRAYS, _RECORDS)]).decode(), newline="\n"
        )
    written: dict[str, Any] = json.loads(text)
    return written


def _column(array: np.ndarray) -> pa.Array:
    if array.dtype.kind == "U":
        return pa.array(
            array.tolist(), pa.string()
        )  # from NumPy's texts, Arrow drops what follows a null character
    if array.ndim == 1:
        return pa.array(array)
    return pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), array.shape[1])
