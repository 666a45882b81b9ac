"""Shards: the rows of an unfinished record, written as inference goes.

shards/rank0-000003-9ae0daaf.safetensors   the process, the number and the checksum of the content
shards/….safetensors.damaged               set aside; its rows are inferred again

Each row carries its index, so that shards of any number of processes, jobs and runs make one record; two jobs may write
at the same time.
"""

from __future__ import annotations

import logging
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int
from safetensors.numpy import save

from weakspot.predictions.arrays import open_arrays
from weakspot.predictions.folders import checksum, whole_file, writing
from weakspot.predictions.reading import reading

FOLDER = "shards"
SETTING = "predictions_dir"
"""The word on the command line for where unfinished records lie."""

_NAME = re.compile(r"rank(\d+)-(\d+)-([0-9a-f]{8})\.safetensors")
_NUMBER = re.compile(r"rank\d+-(\d+)")
_DAMAGED = ".damaged"
_ROW_WISE = ("embeddings", "outputs", "losses", "labels", "predictions", "correct")

log = logging.getLogger(__name__)

Form = Mapping[str, tuple[np.dtype, tuple[int, ...]]]


@dataclass(frozen=True, eq=False)
class _Survey:
    """What lies in a folder of shards: sound ones in order of writing, their rows, and what is wrong with others."""

    sound: list[Path]
    rows: Int[np.ndarray, " r"]
    damaged: dict[Path, str]


def write_shard(folder: Path, rank: int, arrays: Mapping[str, np.ndarray]) -> None:
    """Add rows to the unfinished record in `folder`; they are on the disk when this returns, all or none.

    Args:
        folder: The record's.
        rank: Of this process in its job; shards of other jobs differ in what they hold, and so in their names.
        arrays: `index` (their positions in the data set), and by those names embeddings, outputs, losses,
            labels, predictions, correct, and whatever else belongs to rows.

    Raises:
        OSError: Where the disk is full or refuses, in a sentence that says what to do.
    """
    content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    shards = folder / FOLDER
    with writing(folder, SETTING):
        shards.mkdir(parents=True, exist_ok=True)
        numbers = [int(match[1]) for path in shards.iterdir() if (match := _NUMBER.match(path.name))]
        number = max(numbers, default=-1) + 1
        path = shards / f"rank{rank}-{number:06d}-{zlib.crc32(content):08x}.safetensors"
        with whole_file(path) as draft:
            draft.write_bytes(content)


def finished_rows(folder: Path, n: int, within: range | None = None) -> Int[np.ndarray, " r"]:
    """Positions, sorted, of those of n rows that earlier runs, or other jobs, have left in sound shards.

    Args:
        within: Look only at shards that hold some of these rows; to check all that other jobs have written would
            take each of them as long as to write it.
    """
    rows = _survey(folder, n, within).rows
    return rows if within is None else rows[(rows >= within.start) & (rows < within.stop)]


def claimed_rows(folder: Path, n: int) -> Int[np.ndarray, " r"]:
    """Positions, sorted, of those of n rows that shards say they hold; what else is in them is not looked at."""
    found = [np.zeros(0, np.int64)]
    for path in (folder / FOLDER).glob("rank*.safetensors"):
        index = _index(path)
        if index is not None:
            found.append(index[(index >= 0) & (index < n)].astype(np.int64))
    return np.unique(np.concatenate(found))


def set_aside_damaged(folder: Path, n: int, within: range | None = None) -> None:
    """Rename the shards that cannot be used, and say so; their rows count as not yet inferred."""
    for path, reason in _survey(folder, n, within).damaged.items():
        with writing(folder, SETTING), suppress(FileNotFoundError):  # another job has set it aside
            os.replace(path, path.with_name(path.name + _DAMAGED))
            log.warning("%s; it is set aside, and its rows are inferred again", reason)


def sound_shards(folder: Path, n: int) -> Iterator[dict[str, np.ndarray]]:
    """The arrays of each shard that can be used, in the order in which they were written, mapped from disk."""
    for path in _survey(folder, n).sound:
        yield open_arrays(path)


def gather(folder: Path, name: str, n: int) -> np.ndarray | None:
    """A short column of an unfinished record, in the order of its n rows, NaN in those whose shards lack it; None
    where every shard does."""
    column: np.ndarray | None = None
    for arrays in sound_shards(folder, n):
        if name in arrays:
            if column is None:
                column = np.full((n, *arrays[name].shape[1:]), np.nan, arrays[name].dtype)
            column[arrays["index"]] = arrays[name]
    return column


def _survey(folder: Path, n: int, within: range | None = None) -> _Survey:
    """Shards of another form than the newest are damaged too: an earlier version has left them."""
    damaged: dict[Path, str] = {}
    forms: dict[Path, Form] = {}
    rows: dict[Path, np.ndarray] = {}
    for path in sorted((folder / FOLDER).glob("rank*.safetensors"), key=_age):
        if within is not None and _lies_outside(path, within):
            continue
        try:
            rows[path], forms[path] = _examine(path, n)
        except FileNotFoundError:  # another process has joined them, or set this one aside
            continue
        except (ValueError, OSError) as error:
            damaged[path] = str(error)
    newest = forms[next(reversed(forms))] if forms else {}
    for path in [path for path, form in forms.items() if form != newest]:
        damaged[path] = f"{path} has other columns than the newest shard"
        del forms[path]
    found = [rows[path] for path in forms]
    return _Survey(list(forms), np.unique(np.concatenate([np.zeros(0, np.int64), *found])), damaged)


def _lies_outside(path: Path, within: range) -> bool:
    """Whether a shard says that it holds none of these rows."""
    index = _index(path)
    return index is not None and not ((index >= within.start) & (index < within.stop)).any()


def _index(path: Path) -> np.ndarray | None:
    """The rows that a shard says it holds, or None where it cannot be read; its checksum is not looked at."""
    with suppress(ValueError, OSError):
        index = open_arrays(path).get("index")
        if index is not None and index.dtype.kind in "iu" and index.ndim == 1:
            return index
    return None


def _age(path: Path) -> tuple[int, str]:
    match = _NUMBER.match(path.name)
    return (int(match[1]) if match else -1), path.name


def _examine(path: Path, n: int) -> tuple[Int[np.ndarray, " r"], Form]:
    """The rows of a shard and the form of its columns."""
    with reading(path):
        name = _NAME.fullmatch(path.name)
        if name is None:
            raise ValueError("its name holds no checksum")
        if checksum(path) != name[3]:
            raise ValueError("its content is not what was written")
        arrays = open_arrays(path)
        index = np.array(arrays["index"])
        if index.dtype.kind not in "iu" or index.ndim != 1:
            raise ValueError(f"its rows are numbered by {index.dtype} of shape {index.shape}")
        if len(index) and not 0 <= index.min() <= index.max() < n:
            raise ValueError(f"it holds the rows {index.min()}…{index.max()}, but there are {n} rows")
        for required in ("embeddings", "outputs", "losses"):
            if required not in arrays:
                raise ValueError(f"it has no {required}")
        for column, array in arrays.items():
            if array.shape[:1] != index.shape:
                raise ValueError(f"{column!r} has shape {array.shape}, but there are {len(index)} rows in it")
    form = {name: (arrays[name].dtype, arrays[name].shape[1:]) for name in _ROW_WISE if name in arrays}
    return index.astype(np.int64), form
