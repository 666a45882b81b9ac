"""Reads files of a run, but none that a link leads to outside the run's folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from weakspot.findings.record import FILE, MAP, MEMBERSHIPS
from weakspot.pipeline.saved_runs import SLICES


def is_below_any(path: Path, folders: Sequence[Path]) -> bool:
    """Return whether a file or folder lies in one of the folders after all links are followed."""
    real = Path(os.path.realpath(path))  # `resolve` would raise for a loop of links
    return any(real.is_relative_to(os.path.realpath(folder)) for folder in folders)


def file_inside(folder: Path, name: str) -> Path | None:
    """Return the path of a run's file; None if it does not exist or a link leads out of the run's folder."""
    path = Path(os.path.realpath(folder / name))
    return path if path.is_file() and is_below_any(path, [folder]) else None


def read_file_inside(folder: Path, name: str) -> bytes | None:
    """Return the content of a run's file; None if it no longer exists or a link leads out of the run's folder."""
    try:
        path = file_inside(folder, name)
        return None if path is None else path.read_bytes()
    except OSError:
        return None


def check_files_inside(folder: Path) -> None:
    """Check that the files of a run's findings and slices lie in its folder.

    Raises:
        ValueError: If a link leads out of it.
    """
    slices = (f"{SLICES}/{file.name}" for file in (folder / SLICES).glob("*"))
    for name in (FILE, MEMBERSHIPS, MAP, *slices):
        if not is_below_any(folder / name, [folder]):
            raise ValueError(f"{folder / name} leads out of the run's folder, so it is not read")
