"""Shards: files that hold the rows of an unfinished record and are written while inference runs.

shards/rank0-000003-9ae0daaf.safetensors   named after the process, the number and the content's checksum
shards/….safetensors.damaged               set aside; its rows are inferred again

A shard holds the index of each of its rows, so shards from any number of processes, jobs and runs can form one record;
two jobs may write at the same time.
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

from weakspot.predictions.atomic_files import atomic_file, checksum, writing
from weakspot.predictions.reading import reading
from weakspot.predictions.safetensors_maps import open_arrays

FOLDER = "shards"
SETTING = "predictions_dir"
"""The setting on the command line that names the folder of unfinished records."""

_NAME = re.compile(r"rank(\d+)-(\d+)-([0-9a-f]{8})\.safetensors")
_NUMBER = re.compile(r"rank\d+-(\d+)")
_DAMAGED = ".damaged"
_ROW_WISE = ("embeddings", "outputs", "losses", "labels", "predictions", "correct")

log = logging.getLogger(__name__)

Layout = Mapping[str, tuple[np.dtype, tuple[int, ...]]]
"""The dtype of each column, and the shape of one of its rows."""


@dataclass(frozen=True, eq=False)
class _ShardFolder:
    """Lists the shards in a folder.

    Attributes:
        sound: The shards that can be used, in order of writing.
        rows: The rows that they hold, sorted.
        damaged: The other shards, each with the reason.
    """

    sound: list[Path]
    rows: Int[np.ndarray, " r"]
    damaged: dict[Path, str]


def has_shards(folder: Path) -> bool:
    """Return whether there are shards in `folder`, without reading which rows they hold."""
    return any(_NAME.fullmatch(path.name) for path in (folder / FOLDER).glob("*"))


def write_shard(folder: Path, rank: int, arrays: Mapping[str, np.ndarray]) -> None:
    """Add rows to the unfinished record in `folder`, all or none; they are on the disk when this returns.

    Args:
        folder: The record's folder.
        rank: The rank of this process in its job; shards of other jobs differ in content and thus in name.
        arrays: The columns by name: `index` (the rows' positions in the data set), embeddings, outputs, losses, labels,
            predictions, correct, and any others.

    Raises:
        OSError: The disk is full or not writable; the message says what to do.
    """
    content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    shards = folder / FOLDER
    with writing(folder, SETTING):
        shards.mkdir(parents=True, exist_ok=True)
        numbers = [int(match[1]) for path in shards.iterdir() if (match := _NUMBER.match(path.name))]
        number = max(numbers, default=-1) + 1
        path = shards / f"rank{rank}-{number:06d}-{zlib.crc32(content):08x}.safetensors"
        with atomic_file(path) as draft:
            draft.write_bytes(content)


def finished_rows(folder: Path, n: int, within: range | None = None) -> Int[np.ndarray, " r"]:
    """Return the sorted positions of the rows that earlier runs or other jobs have left in sound shards.

    Args:
        folder: The record's folder.
        n: How many rows the record has.
        within: Read only shards that hold some of these rows; checking all shards would take each of many jobs as long
            as it took to write them.
    """
    rows = _inspect_folder(folder, n, within).rows
    return rows if within is None else rows[(rows >= within.start) & (rows < within.stop)]


def claimed_rows(folder: Path, n: int) -> Int[np.ndarray, " r"]:
    """Return the sorted positions of the rows that shards claim to hold; nothing else in them is checked."""
    rows = [np.zeros(0, np.int64)]
    for path in (folder / FOLDER).glob("rank*.safetensors"):
        index = _index(path)
        if index is not None:
            rows.append(index[(index >= 0) & (index < n)].astype(np.int64))
    return np.unique(np.concatenate(rows))


def set_aside_damaged(folder: Path, n: int, within: range | None = None) -> None:
    """Rename the shards that cannot be used, and log a warning; their rows count as not yet inferred."""
    for path, reason in _inspect_folder(folder, n, within).damaged.items():
        with writing(folder, SETTING), suppress(FileNotFoundError):  # another job set it aside
            os.replace(path, path.with_name(path.name + _DAMAGED))
            log.warning("%s; it is set aside, and its rows are inferred again", reason)


def sound_shards(folder: Path, n: int) -> Iterator[dict[str, np.ndarray]]:
    """Yield the arrays of each shard that can be used, mapped from disk, in the order of writing."""
    for path in _inspect_folder(folder, n).sound:
        yield open_arrays(path)


def gather_column(folder: Path, name: str, n: int) -> np.ndarray | None:
    """Return a short column of an unfinished record in the order of its n rows, or None if every shard lacks it.

    Rows whose shards lack it are NaN.
    """
    column: np.ndarray | None = None
    for arrays in sound_shards(folder, n):
        if name in arrays:
            if column is None:
                column = np.full((n, *arrays[name].shape[1:]), np.nan, arrays[name].dtype)
            column[arrays["index"]] = arrays[name]
    return column


def _inspect_folder(folder: Path, n: int, within: range | None = None) -> _ShardFolder:
    """Read all shards; those whose layout differs from the newest come from an earlier version and count as damaged."""
    damaged: dict[Path, str] = {}
    layouts: dict[Path, Layout] = {}
    rows: dict[Path, np.ndarray] = {}
    for path in sorted((folder / FOLDER).glob("rank*.safetensors"), key=_order_of_writing):
        if within is not None and _lies_outside(path, within):
            continue
        try:
            rows[path], layouts[path] = _inspect_shard(path, n)
        except FileNotFoundError:  # another process joined the shards, or set this one aside
            continue
        except (ValueError, OSError) as error:
            damaged[path] = str(error)
    newest = layouts[next(reversed(layouts))] if layouts else {}
    for path in [path for path, layout in layouts.items() if layout != newest]:
        damaged[path] = f"{path} has other columns than the newest shard"
        del layouts[path]
    sound_rows = [rows[path] for path in layouts]
    return _ShardFolder(
        list(layouts), np.unique(np.concatenate([np.zeros(0, np.int64), *sound_rows])), damaged
    )


def _lies_outside(path: Path, within: range) -> bool:
    """Return whether a shard claims to hold none of these rows."""
    index = _index(path)
    return index is not None and not ((index >= within.start) & (index < within.stop)).any()


def _index(path: Path) -> np.ndarray | None:
    """Return the rows that a shard claims to hold, or None if it cannot be read; its checksum is not checked."""
    with suppress(ValueError, OSError):
        index = open_arrays(path).get("index")
        if index is not None and index.dtype.kind in "iu" and index.ndim == 1:
            return index
    return None


def _order_of_writing(path: Path) -> tuple[int, str]:
    match = _NUMBER.match(path.name)
    return (int(match[1]) if match else -1), path.name


def _inspect_shard(path: Path, n: int) -> tuple[Int[np.ndarray, " r"], Layout]:
    """Check a shard's content, and return its rows and the layout of its columns."""
    with reading(path):
        name = _NAME.fullmatch(path.name)
        if name is None:
            raise ValueError("its name holds no checksum")
        if checksum(path) != name[3]:
            raise ValueError("its content is not what was written")
        arrays = open_arrays(path)
        index = np.array(arrays["index"])
        if index.dtype.kind not in "iu" or index.ndim != 1:
            raise ValueError(f"its row index has dtype {index.dtype} and shape {index.shape}")
        if len(index) and not 0 <= index.min() <= index.max() < n:
            raise ValueError(f"it holds the rows {index.min()}…{index.max()}, but there are {n} rows")
        for required in ("embeddings", "outputs", "losses"):
            if required not in arrays:
                raise ValueError(f"it has no {required}")
        for column, array in arrays.items():
            if array.shape[:1] != index.shape:
                raise ValueError(f"{column!r} has shape {array.shape}, but there are {len(index)} rows in it")
    layout = {name: (arrays[name].dtype, arrays[name].shape[1:]) for name in _ROW_WISE if name in arrays}
    return index.astype(np.int64), layout
