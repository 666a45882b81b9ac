"""Reads files written by `torch.save` without running any code; objects other than tensors become placeholders."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch.serialization import safe_globals

_MOST_PLACEHOLDERS = 200
_ENTRIES = 100_000  # of an archive: more than any network has tensors
_EXECUTING = {"eval", "exec", "compile", "open", "__import__"}
"""Placeholders of these would be harmless, too, but no file of weights needs them, so such a file is malicious."""

_UNKNOWN = re.compile(r"GLOBAL (\S+) was not an allowed global")
_BLOCKED = re.compile(r"GLOBAL (\S+) whose module \S+ is blocked")
_FILLING = re.compile(r"Can only (append|extend|SETITEM).*<class 'placeholder\.(\S+)'>")


class _Placeholder:
    """Stands for an object of any class: accepts any arguments and keeps nothing."""

    def __init__(self, *arguments: object, **named: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


class _ListPlaceholder:
    """Stands for an object of a list class; it is a real list, as torch appends to nothing else."""

    def __new__(cls, *arguments: object) -> list[Any]:  # type: ignore[misc]
        return []


class _MappingPlaceholder:
    """Stands for an object of a mapping class; it is a real mapping, as torch sets items of nothing else."""

    def __new__(cls, *arguments: object) -> OrderedDict[Any, Any]:  # type: ignore[misc]
        return OrderedDict()


def read_torch(path: Path) -> tuple[Any, list[str]]:
    """Read a file that `torch.save` wrote.

    Checkpoints often hold a configuration, a path or a NumPy number beside good weights. torch's restricted unpickler
    imports nothing, calls only what makes tensors, and stops at the first name that it does not know; it is then given
    a placeholder class for that name, and reads again.

    Returns:
        The content, and the names of the classes that were replaced by placeholders.

    Raises:
        ValueError: If the file is damaged, or made to run code or to fill the memory.
    """
    # the format before torch 1.6 is not a zip archive and cannot be mapped
    try:
        mapped = zipfile.is_zipfile(path)
    except zipfile.BadZipFile as error:  # one that claims to span several disks
        raise ValueError(f"{path} is a damaged archive: {error}") from error
    if mapped:
        _check_archive(path)
    placeholders: dict[str, type] = {}
    while True:
        try:
            with (
                warnings.catch_warnings(),
                safe_globals([(placeholder, name) for name, placeholder in placeholders.items()]),
            ):
                warnings.simplefilter("ignore")  # about old protocols and types, meant for torch's authors
                content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
                return content, list(placeholders)
        except Exception as error:  # whatever a damaged or crafted file leads to
            name, kind = _missing_class(error, path)
            if issubclass(placeholders.get(name, object), kind) or len(placeholders) == _MOST_PLACEHOLDERS:
                raise _unreadable(error, path) from None
            try:
                placeholders[name] = type(name, (kind,), {"__module__": "placeholder"})
            except ValueError as problem:  # no class has such a name
                raise _unreadable(problem, path) from None


def _check_archive(path: Path) -> None:
    """Raise ValueError if an archive unpacks to more than its size: torch stores its files uncompressed."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except Exception as error:  # whatever a damaged or crafted file leads to
        raise ValueError(f"{path} is a damaged archive: {error}") from error
    packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    if packed or len(entries) > _ENTRIES or sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise ValueError(
            f"{path} is refused: it unpacks to more than its size, which no file written by torch.save does"
        )


def _missing_class(error: Exception, path: Path) -> tuple[str, type]:
    """Return the name that torch does not know, and its placeholder; raise ValueError for any other problem."""
    if filled := _FILLING.search(str(error)):
        return filled[2], _MappingPlaceholder if filled[1] == "SETITEM" else _ListPlaceholder
    stopped = _BLOCKED.search(str(error)) or _UNKNOWN.search(str(error))
    if stopped is None:
        raise _unreadable(error, path)
    if stopped.re is _BLOCKED or stopped[1] in _EXECUTING:
        raise ValueError(
            f"{path} is refused: besides tensors it holds {stopped[1]}, and reading such objects can run code hidden "
            "in the file; save the state dict alone, or as safetensors"
        )
    name = stopped[1] if "." in stopped[1] else f"builtins.{stopped[1]}"  # torch leaves that module out
    return name, _Placeholder


def _unreadable(error: Exception, path: Path) -> ValueError:
    """Return an error with torch's first sentence, without its advice to load the file unsafely."""
    text = str(error).split("WeightsUnpickler error:")[-1].strip() or type(error).__name__
    reason = re.split(r"\.\s|\n", text)[0]
    return ValueError(f"{path} is not a file of weights that torch can read: {reason}")
