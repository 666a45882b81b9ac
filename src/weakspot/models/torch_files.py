"""What `torch.save` wrote, read without running anything: of objects besides tensors an empty husk is left."""

from __future__ import annotations

import re
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch.serialization import safe_globals

_MOST_PLACEHOLDERS = 200
_ENTRIES = 100_000  # of an archive: more than any network has tensors
_EXECUTING = {"eval", "exec", "compile", "open", "__import__"}
"""A husk of these would do no harm either, but a file of weights has no use for them: somebody meant harm."""

_UNKNOWN = re.compile(r"GLOBAL (\S+) was not an allowed global")
_BLOCKED = re.compile(r"GLOBAL (\S+) whose module \S+ is blocked")
_FILLING = re.compile(r"Can only (append|extend|SETITEM).*<class 'husk\.(\S+)'>")


class _Placeholder:
    """Stands for an object of any class: takes whatever it is given, and keeps nothing."""

    def __init__(self, *arguments: object, **named: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


class _ListPlaceholder:
    """Of a class that is a list: what is appended to it is kept, for torch appends to nothing but lists."""

    def __new__(cls, *arguments: object) -> list[Any]:  # type: ignore[misc]
        return []


class _MappingPlaceholder:
    """Of a class that is a mapping, as `_ListHusk`."""

    def __new__(cls, *arguments: object) -> OrderedDict[Any, Any]:  # type: ignore[misc]
        return OrderedDict()


def read_torch(path: Path) -> tuple[Any, list[str]]:
    """The content of a file that `torch.save` wrote, and the names of what is left of it as husks.

    Checkpoints often hold a configuration, a path or one of NumPy's numbers beside good weights. torch's restricted
    unpickler imports nothing, calls nothing but what makes tensors, and stops at the first name that it does not know:
    it is given a class of ours for that name, and reads again.

    Raises ValueError for a file that is damaged, made to run code, or made to fill the memory.
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
            with safe_globals([(placeholder, name) for name, placeholder in placeholders.items()]):
                return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped), list(
                    placeholders
                )
        except Exception as error:  # whatever a damaged or crafted file leads to
            name, kind = _missing_class(error, path)
            if issubclass(placeholders.get(name, object), kind) or len(placeholders) == _MOST_PLACEHOLDERS:
                raise _unreadable(error, path) from None
            placeholders[name] = type(name, (kind,), {"__module__": "husk"})


def _check_archive(path: Path) -> None:
    """Raise ValueError for an archive that unpacks to more than it is: torch leaves its files as they are."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except Exception as error:  # whatever a damaged or crafted file leads to
        raise ValueError(f"{path} is a damaged archive: {error}") from error
    packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    if packed or len(entries) > _ENTRIES or sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise ValueError(
            f"{path} is refused: it unpacks to more than it is, which no file does that torch.save wrote"
        )


def _missing_class(error: Exception, path: Path) -> tuple[str, type]:
    """The husk that torch lacks, by name and kind, as it says; raises ValueError if that is not why it stopped."""
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
    """In the first sentence of what went wrong, without torch's advice to load the file unsafely."""
    text = str(error).split("WeightsUnpickler error:")[-1].strip() or type(error).__name__
    reason = re.split(r"\.\s|\n", text)[0]
    return ValueError(f"{path} is not a file of weights that torch can read: {reason}")
