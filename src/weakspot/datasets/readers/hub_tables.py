"""Reads tables that Hugging Face's hub publishes, or its `datasets` library saves, with pyarrow alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_Reader = Callable[[Path, Sequence[str]], Iterator[pa.RecordBatch]]


def read_hub_table(
    root: Path, split: str, columns: Sequence[str], first: int | None = None
) -> pa.Table | None:
    """Read the first rows of a split.

    There are two layouts: Parquet shards, `train-00000-of-00004.parquet` in `root` or a folder below it, or
    `train/0000.parquet`; and that of `save_to_disk`, `train/state.json` beside the Arrow files that it lists.

    Args:
        root: The folder.
        split: The split's published name.
        columns: The columns to read.
        first: How many rows to read; None for all.

    Returns:
        The rows; None if `root` has neither layout.

    Raises:
        ValueError: If a file is damaged or lacks a column.
        FileNotFoundError: If a listed file is missing.
    """
    saved = root / split / "state.json"
    if saved.is_file():
        return _read(_saved_files(saved), columns, first, _arrow)
    shards = sorted(root.glob(f"**/{split}-*.parquet")) or sorted(root.glob(f"**/{split}/*.parquet"))
    return _read(shards, columns, first, _parquet) if shards else None


def _saved_files(state: Path) -> list[Path]:
    with _named(state):
        files = [
            state.parent / entry["filename"]
            for entry in json.loads(state.read_text(encoding="utf-8-sig"))["_data_files"]
        ]
    if not files:
        raise ValueError(f"{state} lists no files (_data_files is empty); save the dataset again")
    missing = next((file for file in files if not file.is_file()), None)
    if missing is not None:
        raise FileNotFoundError(f"{state} lists {missing.name}, but there is no {missing}")
    return files


def _read(files: Sequence[Path], columns: Sequence[str], first: int | None, batches: _Reader) -> pa.Table:
    """Read whole batches of one file after another, until there are enough rows."""
    batches_read: list[pa.RecordBatch] = []
    count = 0
    for file in files:
        with _named(file):
            for batch in batches(file, columns):
                if batches_read and not batch.schema.equals(batches_read[0].schema):
                    raise ValueError(
                        f"the columns of {file} are of other types than those of {files[0].name}; fetch them again"
                    )
                batches_read.append(batch)
                count += len(batch)
                if first is not None and count >= first:
                    return pa.Table.from_batches(batches_read).slice(0, first)
    if not batches_read:
        raise ValueError(f"{files[0]} has no rows")
    return pa.Table.from_batches(batches_read)


def _parquet(file: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(file) as table:
        _check(file, table.schema_arrow, columns)
        for batch in table.iter_batches(columns=list(columns)):
            yield batch.select(list(columns))


def _arrow(file: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as table:
        _check(file, table.schema, columns)
        for batch in table:
            yield batch.select(list(columns))


def _check(file: Path, schema: pa.Schema, columns: Sequence[str]) -> None:
    lacking = next((name for name in columns if name not in schema.names), None)
    if lacking is not None:
        raise ValueError(f"{file} has no column {lacking!r}; it has: {', '.join(schema.names)}")


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """Turn errors of Arrow and JSON into a sentence that names the file."""
    try:
        yield
    except (
        pa.ArrowException,
        KeyError,
        TypeError,
        json.JSONDecodeError,
        UnicodeDecodeError,
        OSError,
    ) as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"{file} cannot be read ({reason}); fetch it again") from error
