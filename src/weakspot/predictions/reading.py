"""The boundary around every reader: whatever is wrong with a file becomes one sentence that names it.

A file may be cut short, damaged, written by another program or crafted. Whoever interprets one does it inside
`reading`, and compares the sizes that it announces with its own before anything is allocated.
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

from weakspot.predictions.plain import first_repeated

_LONGEST_REASON = 300  # characters: a library may quote the file
_DEEPEST = 100  # levels of a manifest
_CELLS = 100_000_000  # a table of so many values is read however small its file
_TEXTS = 1 << 30  # bytes of texts that any table may hold
_EXPANSION = 100  # times its own size that the texts of a larger one may take
_CELLS_PER_BYTE = 1000  # columns of one value repeated take next to nothing


class DamagedError(ValueError):
    """A file that cannot be read as what it should be; the message names the file, and the key in it."""


@contextmanager
def reading(path: Path, key: str | None = None) -> Iterator[None]:
    """Turn any failure inside the block into a DamagedError, `PATH: key 'K' cannot be read: …`.

    What the system says of the file (missing, denied, a failing disk) is no damage, but the same sentence.

    Args:
        path: The file that is interpreted.
        key: The array, column or field of it, where there is one.

    Raises:
        DamagedError: Where the block fails.
        OSError: Of its kind, where the system does.
    """
    try:
        yield
    except DamagedError:
        raise
    except Exception as error:  # libraries fail in any way on damaged files
        place = f"{path}" if key is None else f"{path}: key {key!r}"
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL, errno.EISDIR):
            raise type(error)(f"{place} cannot be read: {os.strerror(error.errno)}") from error
        raise DamagedError(f"{place} cannot be read: {_reason(error)}") from error


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the file's name before what is said of its content inside the block."""
    try:
        yield
    except DamagedError:
        raise
    except ValueError as error:
        raise DamagedError(f"{path}: {error}") from error


def read_manifest(
    path: Path, version: int, fields: Mapping[str, type | UnionType], earlier: Sequence[int] = ()
) -> dict[str, Any]:
    """The JSON object in a file.

    Args:
        path: The file.
        version: The `format` that it must have.
        earlier: Versions that are read as well.
        fields: Names that it must hold, with the types of their values.

    Raises:
        DamagedError: Where it is no JSON object, or a field is missing or of another type.
        ValueError: Where it is of another version.
    """
    with reading(path):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        _check_nesting(manifest)
        json.dumps(manifest, ensure_ascii=False).encode()  # half a surrogate pair is no text
        if not isinstance(manifest, dict):
            raise ValueError("it holds no JSON object")
    found = manifest.get("format")
    if type(found) is not int or found not in (version, *earlier):
        raise ValueError(f"{path}: format {found!r}, but this version reads {version}; make it again")
    for name, kind in fields.items():
        with reading(path, name):
            if name not in manifest:
                raise ValueError("it is missing")
            if not isinstance(manifest[name], kind) or isinstance(manifest[name], bool):
                raise ValueError(f"it is of the wrong type, {type(manifest[name]).__name__}")
    return manifest


def read_parquet(path: Path, leave_out: Sequence[str] = ()) -> pa.Table:
    """A Parquet file whose values are all valid.

    Args:
        path: The file.
        leave_out: Columns that are not read.

    Raises:
        DamagedError: Where it is damaged, or announces far more values than a file of its size holds.
    """
    with reading(path):
        with pq.ParquetFile(path) as file:
            announced, schema = file.metadata.num_rows * max(file.metadata.num_columns, 1), file.schema_arrow
        if announced > max(_CELLS, _CELLS_PER_BYTE * path.stat().st_size):
            raise ValueError(f"it announces {announced} values in {path.stat().st_size} bytes")
        if (twice := first_repeated(schema.names)) is not None:
            raise ValueError(f"there are two columns {twice!r}")
        if any("\0" in name for name in schema.names):  # which Arrow would cut there
            raise ValueError("the name of a column holds the character NUL")
        return _table(path, pa.schema([field for field in schema if field.name not in leave_out]))


def _table(path: Path, schema: pa.Schema) -> pa.Table:
    """These columns; texts by number first, for a short file can refer to a long text any number of times.

    What the file's own metadata say of a column is not asked: where they are damaged, Arrow ends the process.
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
    """Whether values of this type are texts or bytes, or refer to some."""
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(kind) for test in tests)


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "it announces more than the memory holds"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, KeyError):
        return f"{error} is missing"
    lines = str(error).strip().splitlines()
    return lines[0][:_LONGEST_REASON] if lines else type(error).__name__


def _check_nesting(value: Any) -> None:
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            item
            for node in level
            if isinstance(node, (dict, list))
            for item in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return
    raise ValueError("it is nested too deeply")
