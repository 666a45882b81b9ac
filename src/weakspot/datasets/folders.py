"""Published files as people unpack them: a folder deeper than expected, or with one picture missing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

EXTENSIONS = (".jpg", ".jpeg", ".png")


def find_folder(root: str | Path | None, below: Sequence[str], marker: str, advice: str) -> Path:
    """The first of `root` and the folders `below` it that holds `marker`, a file or a folder.

    Raises FileNotFoundError, with `advice`, where none does.
    """
    top = Path(root if root is not None else ".").expanduser()
    for folder in (top, *(top / name for name in below)):
        if (folder / marker).exists():
            return folder
    raise FileNotFoundError(f"no {marker} in {top}{' or below it' if below else ''}: {advice}")


def pictures_in(folder: Path) -> list[str]:
    """Names of the pictures in a folder, sorted; what macOS leaves beside them (`._a.jpg`) is passed over."""
    names = (entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
    return sorted(name for name in names if name.lower().endswith(EXTENSIONS))


def check_exist(root: Path, files: Sequence[str], table: Path, lines: Sequence[int]) -> None:
    """Raise FileNotFoundError, naming table and line, for the first file that is not below `root`."""
    for file, line in zip(files, lines, strict=True):
        if not (root / file).is_file():
            raise FileNotFoundError(
                f"{table}, line {line}: there is no file {root / file}; unpack the pictures again, "
                "or remove the line"
            )
