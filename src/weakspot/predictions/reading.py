"""The error boundary around every file reader: any problem with a file becomes one sentence that names the file.

A file may be cut short, damaged, written by another program or crafted. A reader interprets it inside `reading`, and
compares the sizes that the file announces with the file's own size before it allocates memory.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import UnionType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from weakspot.legible import printable
from weakspot.predictions.plain_columns import first_repeated

_LONGEST_REASON = 300  # characters; a library may quote the file
_MOST_LEVELS = 100  # of nesting in a manifest
_CELLS = 100_000_000  # a table with at most this many values is read however small its file
_TEXTS = 1 << 30  # bytes that the texts of any table may take
_EXPANSION = 100  # the texts of a larger table may take this many times its file's size
_CELLS_PER_BYTE = 1000  # a column that repeats one value takes next to no space


class DamagedError(ValueError):
    """Raised if a file cannot be read as what it should be; the message names the file and the key in it."""


@contextmanager
def reading(path: Path, key: str | None = None) -> Iterator[None]:
    """Turn any failure inside the block into a DamagedError, `PATH: key 'K' cannot be read: …`.

    A system error (a missing file, a denied permission, a failing disk) is not damage and stays an OSError, with a
    message of the same form.

    Args:
        path: The file that the block interprets.
        key: The array, column or field of the file that it interprets, if any.

    Raises:
        DamagedError: The block failed.
        OSError: The system reported an error, which is raised as the same class.
    """
    try:
        yield
    except DamagedError:
        raise
    except Exception as error:  # libraries fail in unpredictable ways on damaged files
        location = f"{path}" if key is None else f"{path}: key {key!r}"
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL, errno.EISDIR):
            raise type(error)(f"{location} cannot be read: {os.strerror(error.errno)}") from error
        raise DamagedError(f"{location} cannot be read: {_reason(error)}") from error


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the file's name before the message of a ValueError inside the block, and raise it as a DamagedError."""
    try:
        yield
    except DamagedError:
        raise
    except ValueError as error:
        raise DamagedError(f"{path}: {printable(str(error))}") from error


def read_manifest(
    path: Path, version: int, fields: Mapping[str, type | UnionType], earlier: Sequence[int] = ()
) -> dict[str, Any]:
    """Return the JSON object in a file.

    Args:
        path: The file.
        version: The `format` that the object must have.
        fields: The names of required fields, with the types of their values.
        earlier: Earlier formats that can also be read.

    Raises:
        DamagedError: The file is not a JSON object, or a field is missing or has another type.
        ValueError: The object has another version.
    """
    with reading(path):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        check_nesting(manifest)
        json.dumps(manifest, ensure_ascii=False).encode()  # a lone surrogate is not text
        if not isinstance(manifest, dict):
            raise ValueError("it is not a JSON object")
    found_version = manifest.get("format")
    if type(found_version) is not int or found_version not in (version, *earlier):
        raise ValueError(f"{path}: format {found_version!r}, but this version reads {version}; make it again")
    for name, kind in fields.items():
        with reading(path, name):
            if name not in manifest:
                raise ValueError("it is missing")
            if not isinstance(manifest[name], kind) or isinstance(manifest[name], bool):
                raise ValueError(f"it is of the wrong type, {type(manifest[name]).__name__}")
    return manifest


def read_parquet(path: Path, leave_out: Sequence[str] = ()) -> pa.Table:
    """Return the table in a Parquet file once all of its values have passed Arrow's validation.

    Args:
        path: The file.
        leave_out: Columns that are not read.

    Raises:
        DamagedError: The file is damaged, or announces far more values than a file of its size holds.
    """
    with reading(path):
        with pq.ParquetFile(path) as file:
            announced, schema = file.metadata.num_rows * max(file.metadata.num_columns, 1), file.schema_arrow
        if announced > max(_CELLS, _CELLS_PER_BYTE * path.stat().st_size):
            raise ValueError(f"it announces {announced} values in {path.stat().st_size} bytes")
        if (twice := first_repeated(schema.names)) is not None:
            raise ValueError(f"there are two columns {twice!r}")
        if any("\0" in name for name in schema.names):  # Arrow would cut the name there
            raise ValueError("the name of a column holds the character NUL")
        return _table(path, pa.schema([field for field in schema if field.name not in leave_out]))


def _table(path: Path, schema: pa.Schema) -> pa.Table:
    """Read these columns, first with texts as dictionaries, because a small file can refer to a long text many times.

    The file's own metadata on its columns is not read: if it is damaged, Arrow ends the process.
    """
    texts = [field.name for field in schema if _is_text(field.type)]
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        table = file.read(columns=schema.names)
    table.validate(full=True)
    for name in texts:
        total = sum(
            pc.sum(pc.binary_length(chunk.dictionary).take(chunk.indices)).as_py() or 0
            for chunk in table[name].chunks
            if pa.types.is_dictionary(chunk.type)
        )
        if total > max(_TEXTS, _EXPANSION * path.stat().st_size):
            raise ValueError(f"column {name!r} announces texts of {total} bytes")
    return table.cast(schema)


def _is_text(kind: pa.DataType) -> bool:
    """Return whether values of this type are texts or bytes, or refer to texts or bytes."""
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(kind) for test in tests)


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "it claims more than fits in memory"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, KeyError):
        return f"{error} is missing"
    lines = str(error).strip().splitlines()
    return lines[0][:_LONGEST_REASON] if lines else type(error).__name__


def check_nesting(value: Any) -> None:
    """Raise ValueError if JSON lists and objects are nested too deeply for the code that walks them."""
    level = [value]
    for _ in range(_MOST_LEVELS):
        level = [
            item
            for node in level
            if isinstance(node, (dict, list))
            for item in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return
    raise ValueError("it is nested too deeply")
