"""Published files as people unpack them: a folder deeper than expected, or with one image missing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from weakspot.legible import as_utf8

_EXTENSIONS = (".jpg", ".jpeg", ".png")


def find_folder(root: str | Path | None, below: Sequence[str], marker: str, advice: str) -> Path:
    """The first of `root` and the folders `below` it that holds `marker`, a file or a folder.

    Raises FileNotFoundError, with `advice`, where none does.
    """
    top = Path(root if root is not None else ".").expanduser()
    for folder in (top, *(top / name for name in below)):
        if (folder / marker).exists():
            return folder
    raise FileNotFoundError(f"no {marker} in {top}{' or below it' if below else ''}: {advice}")


def image_names(folder: Path) -> list[str]:
    """Names of the images in a folder, sorted; what macOS leaves beside them (`._a.jpg`) is passed over, and what
    is no file.

    Raises ValueError for a name that is no UTF-8: none of a published data set is.
    """
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            shown = not entry.name.startswith(".") and entry.name.lower().endswith(_EXTENSIONS)
            if shown and entry.is_file():
                names.append(entry.name)
    odd = next((name for name in names if as_utf8(name) != name), None)
    if odd is not None:
        raise ValueError(
            f"{as_utf8(str(folder / odd))}: the file's name is no UTF-8; rename it, or unpack it again"
        )
    return sorted(names)


def check_exist(root: Path, files: Sequence[str], table: Path, lines: Sequence[int]) -> None:
    """Raise FileNotFoundError, naming table and line, for the first file that is not below `root`."""
    for file, line in zip(files, lines, strict=True):
        if not (root / file).is_file():
            raise FileNotFoundError(
                f"{table}, line {line}: there is no file {root / file}; unpack the images again, "
                "or remove the line"
            )
