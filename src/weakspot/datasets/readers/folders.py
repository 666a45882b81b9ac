"""Finds the folder of a published dataset, at or below a given one, and its images; reports missing files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from weakspot.image_formats import EXTENSIONS
from weakspot.legible import as_utf8


def find_folder(root: str | Path | None, below: Sequence[str], marker: str, advice: str) -> Path:
    """Return the first of `root` and the folders `below` it that contains `marker`, a file or a folder.

    Raises:
        FileNotFoundError: If none does; the message ends with `advice`.
    """
    top = Path(root if root is not None else ".").expanduser()
    for folder in (top, *(top / name for name in below)):
        if (folder / marker).exists():
            return folder
    raise FileNotFoundError(f"no {marker} in {top}{' or below it' if below else ''}: {advice}")


def image_names(folder: Path) -> list[str]:
    """List the names of the image files in a folder, sorted, without the hidden files of macOS (`._a.jpg`).

    Raises:
        ValueError: If a name is not UTF-8; no published data set has such names.
    """
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            is_image = not entry.name.startswith(".") and entry.name.lower().endswith(EXTENSIONS)
            if is_image and entry.is_file():
                names.append(entry.name)
    odd = next((name for name in names if as_utf8(name) != name), None)
    if odd is not None:
        raise ValueError(
            f"{as_utf8(str(folder / odd))}: the file's name is not UTF-8; rename it, or unpack it again"
        )
    return sorted(names)


def check_exist(root: Path, files: Sequence[str], table: Path, lines: Sequence[int]) -> None:
    """Raise FileNotFoundError, naming table and line, if one of the files is missing below `root`."""
    for file, line in zip(files, lines, strict=True):
        if not (root / file).is_file():
            raise FileNotFoundError(
                f"{table}, line {line}: there is no file {root / file}; unpack the images again, "
                "or remove the line"
            )
