"""Folders of ours on disk: replaced whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


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
