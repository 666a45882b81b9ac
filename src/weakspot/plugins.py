"""Plug-ins: folders of configuration files beyond the project's own, which bring datasets, models and methods.

They are `conf/` in the working directory, and the folders that installed packages name by an entry point in the group
`weakspot.configs`. Such a folder holds `dataset/`, `model/`, `method/` with one YAML file for each word. Files are
listed without importing the package that contains them.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

ENTRY_POINTS = "weakspot.configs"
"""The group of entry points by which an installed package names its folder, as package or package.subfolder."""

FOLDER = "conf"
"""The name of the folder in the working directory."""

_PACKAGES = {"site-packages", "dist-packages"}  # folders of installed packages; the second is Debian's
_LONGEST = 100  # characters of a name in a message
_IMPORTABLE = re.compile(r"\w+(\.\w+)*")
_TARGET = re.compile(r"^[^#\n]*\b_target_:\s*[\"']?([\w.]+)", re.MULTILINE)


@dataclass(frozen=True)
class PluginFolder:
    """Represents a folder of configuration files.

    Attributes:
        origin: Where it comes from, for people to read: `conf/`, or the name of an installed package.
        path: The folder, absolute.
        package: The folder of the installed package; None for `conf/`.
    """

    origin: str
    path: Path
    package: Path | None = None

    def file(self, group: str, word: str) -> Path:
        """Return the file for a word of a group."""
        return self.path / group / f"{word}.yaml"


def folders() -> tuple[PluginFolder, ...]:
    """Return the existing folders: the working directory's first, then those of packages, sorted by name."""
    here = Path.cwd() / FOLDER
    local = (PluginFolder(f"{FOLDER}/", here),) if here.is_dir() else ()
    return local + tuple(found for found in _installed(tuple(sys.path)) if isinstance(found, PluginFolder))


def missing_folders() -> tuple[str, ...]:
    """Return a sentence for each installed package that names a folder which does not exist."""
    return tuple(found for found in _installed(tuple(sys.path)) if isinstance(found, str))


def choices(group: str) -> dict[str, list[PluginFolder]]:
    """Return the words of a group in alphabetical order, each with the folders that have a file for it."""
    found: dict[str, list[PluginFolder]] = {}
    for folder in folders():
        for file in choice_files(folder.path / group):
            found.setdefault(file.stem, []).append(folder)
    return dict(sorted(found.items()))


def choice_files(folder: Path) -> list[Path]:
    """Return the configuration files in a group's folder, without hidden ones, which editors and file systems leave."""
    return sorted(filter(Path.is_file, folder.glob("[!.]*.yaml")))


def method_target(word: str) -> str | None:
    """Return the import path of the class of a method, or None if no plug-in has a method of this word."""
    for folder in choices("method").get(word, []):
        target = _TARGET.search(folder.file("method", word).read_text(encoding="utf-8", errors="replace"))
        if target:
            return target[1]
    return None


def code_name(file: Path) -> str:
    """Return the path of a plug-in's Python file, relative to where it is imported from; "" for any other file."""
    if file.is_relative_to(Path(__file__).parent):
        return ""
    for package in filter(None, (folder.package for folder in folders())):
        if file.is_relative_to(package):
            return str(file.relative_to(package.parent))
    is_installed = not _PACKAGES.isdisjoint(file.parts) or file.is_relative_to(sysconfig.get_path("stdlib"))
    is_local = not is_installed and file.is_relative_to(Path.cwd())
    return str(file.relative_to(Path.cwd())) if is_local else ""


def make_working_directory_importable() -> None:
    """Let modules in the working directory be imported, as `python -m` does; installed ones of the same name win."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)


@cache  # reading the metadata of all packages takes 20 ms
def _installed(_path: tuple[str, ...]) -> tuple[PluginFolder | str, ...]:
    found = entry_points(group=ENTRY_POINTS)
    return tuple(_folder(point) for point in sorted(set(found), key=lambda point: (_package(point), point)))


def _folder(point: EntryPoint) -> PluginFolder | str:
    named = _IMPORTABLE.fullmatch(point.value)
    for package, path in _locations(point.value) if named else ():
        return PluginFolder(_package(point), path, package)
    return (
        f"{_package(point)} names {point.value[:_LONGEST]} as its folder of configuration files, which does not exist: "
        f"its entry point in {ENTRY_POINTS} must be package or package.subfolder"
    )


def _locations(module: str) -> Iterator[tuple[Path, Path]]:
    """Yield the folder of the top-level package, found without importing it, with the folder of `module` below it."""
    top, *below = module.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        spec = None
    for location in (spec and spec.submodule_search_locations) or ():
        package = Path(location).absolute()
        folder = package.joinpath(*below)
        if folder.is_dir():
            yield package, folder


def _package(point: EntryPoint) -> str:
    names = point.dist.metadata.get_all("Name") if point.dist else None
    return str(names[0]) if names else point.name  # a half-removed package has no name
