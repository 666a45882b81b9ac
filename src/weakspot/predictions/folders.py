"""Folders of ours on disk: replaced whole or not at all, and read with errors that name the file."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import UnionType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


@contextmanager
def replaced(folder: Path, marks: Sequence[str]) -> Iterator[Path]:
    """An empty folder to fill; when the block ends it takes the place of `folder`.

    On an exception the new folder goes and what was there stays. A process killed between the two renames
    leaves the earlier content in a hidden folder `.NAME-…` beside it.

    Raises FileExistsError where `folder` holds something without the files `marks`, by which ours are known.
    """
    folder = folder.resolve()  # a link stays a link
    ours = all((folder / mark).is_file() for mark in marks)
    if folder.exists() and not ours and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(
            f"{folder} already exists and has no {marks[0]} of ours, so it is not replaced; give another folder"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    new, old = scratch / "new", scratch / "old"
    try:
        new.mkdir()  # mkdtemp's own folder is closed to others
        yield new
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(scratch, ignore_errors=True)


def read_manifest(path: Path, version: int, fields: Mapping[str, type | UnionType]) -> dict[str, Any]:
    """The JSON object in a file, with fields of these types; ValueError naming the file where it is not so."""
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged, it is no readable JSON: {error}") from error
    if not isinstance(manifest, dict):
        raise ValueError(f"{path} is damaged: it holds no JSON object")
    if manifest.get("format") != version:
        raise ValueError(f"{path}: format {manifest.get('format')!r}, but this version reads {version}")
    for name, kind in fields.items():
        if name not in manifest or not isinstance(manifest[name], kind):
            raise ValueError(f"{path} is damaged: {name!r} is missing or of the wrong type")
    return manifest


def read_table(path: Path) -> pa.Table:
    """A Parquet file; ValueError naming it where it is damaged."""
    try:
        return pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{path} is damaged, it is no readable Parquet file: {error}") from error
