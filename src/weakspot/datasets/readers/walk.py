"""Finds the files below a folder, each once, even if there are links, loops and pipes."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from weakspot.legible import printable

log = logging.getLogger(__name__)

_LISTED = 3


def files_below(root: Path, endings: Sequence[str], follow_links: bool = False) -> list[str]:
    """List the files below `root` whose names have one of the endings, sorted, as relative paths with slashes.

    Every folder is entered once, by its own path if it has one below `root`, else by the first link to it, so that
    links cannot form a loop. Hidden files and folders are skipped silently; links that lead out of `root`, and files
    that are not regular (a pipe, a broken link), are skipped with a warning.

    Args:
        root: The folder to search.
        endings: In lower case, such as ".jpg".
        follow_links: Whether to follow links that lead out of `root`.

    Raises:
        OSError: If a folder may not be read.
    """
    top = os.path.realpath(root)
    entered = {_identity(top)}
    files: list[str] = []
    outside: list[str] = []
    irregular: list[str] = []
    links: list[tuple[str, str]] = []
    waiting = [(top, "")]
    while waiting or links:
        # links wait until every folder with a path of its own has been entered
        folder, inside = waiting.pop() if waiting else links.pop(0)
        if inside and not _is_new(folder, entered):
            continue
        for entry in _entries(folder):
            path, is_link = f"{inside}{entry.name}", entry.is_symlink()
            # for a link to itself, os.path returns False, where the entry would raise
            is_folder = os.path.isdir(entry.path) if is_link else entry.is_dir()
            is_named = entry.name.lower().endswith(tuple(endings))
            if is_link and not (follow_links or _is_below(entry.path, top)):
                if is_folder or is_named:
                    outside.append(path)
            elif is_folder:
                (links if is_link else waiting).append((entry.path, f"{path}/"))
            elif is_named:
                (files if os.path.isfile(entry.path) else irregular).append(path)
    if outside:
        log.warning(
            "%s: skipped %d links that lead out of it (%s); dataset.follow_links=true follows them",
            root,
            len(outside),
            _some(outside),
        )
    if irregular:
        log.warning(
            "%s: skipped %d entries that are not regular files (%s)", root, len(irregular), _some(irregular)
        )
    return sorted(files)


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from sorted(
            (entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name
        )


def _is_new(folder: str, entered: set[tuple[int, int]]) -> bool:
    identity = _identity(folder)
    new = identity not in entered
    entered.add(identity)
    return new


def _identity(folder: str) -> tuple[int, int]:
    about = os.stat(folder)
    return about.st_dev, about.st_ino


def _is_below(link: str, top: str) -> bool:
    target = os.path.realpath(link)
    return target == top or target.startswith(f"{top.rstrip(os.sep)}{os.sep}")


def _some(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _LISTED} more" if len(paths) > _LISTED else ""
    return ", ".join(map(printable, sorted(paths)[:_LISTED])) + more
