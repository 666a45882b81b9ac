"""Reads the index of a tar in webdataset's layout: where each image lies, its label and its JSON member."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from weakspot.image_formats import EXTENSIONS, LARGEST_IMAGE
from weakspot.predictions.reading import naming, reading

_LARGEST_TEXT = 1 << 20  # bytes of a member .cls or .json


@dataclass
class TarSample:
    """The members of one key in a tar.

    Attributes:
        location: The offset and the size of the image, in bytes.
        label: What the member `.cls` holds.
        about: What the member `.json` holds.
    """

    location: tuple[int, int] | None = None  # of the image: offset and size
    label: str | None = None
    about: dict[str, Any] = field(default_factory=dict)


def read_samples(tar: Path) -> dict[str, TarSample]:
    """Return the samples of a tar by key, in its order, without extracting anything.

    The headers of a tar are read once in each process, until the file changes.

    Raises:
        ValueError: If the tar is damaged or compressed, or a key has no image; the message names tar and member.
    """
    with reading(tar):
        stat = tar.stat()
    return _scanned(tar, stat.st_size, stat.st_mtime_ns)


@cache
def _scanned(tar: Path, size: int, changed: int) -> dict[str, TarSample]:
    samples: dict[str, TarSample] = {}
    with reading(tar), tar.open("rb") as file:
        for member in _members(tar, size):
            folder, slash, name = member.name.rpartition("/")
            start, _, kind = name.partition(".")
            kind = f".{kind.lower()}"
            if not start or kind not in (*EXTENSIONS, ".cls", ".json"):
                continue
            sample = samples.setdefault(f"{folder}{slash}{start}".removeprefix("./"), TarSample())
            if kind in EXTENSIONS:
                _check_size(member, LARGEST_IMAGE)
                if sample.location is not None:
                    raise ValueError(f"{member.name} is a second image of one key")
                sample.location = (member.offset_data, member.size)
                continue
            _check_size(member, _LARGEST_TEXT)
            file.seek(member.offset_data)
            content = file.read(member.size)
            with reading(tar, member.name):
                if kind == ".cls":
                    sample.label = content.decode().strip()
                    continue
                about = json.loads(content)
                if not isinstance(about, dict):
                    raise ValueError("it is not a JSON object")
                sample.about = about
    with naming(tar):
        imageless = next((key for key, sample in samples.items() if sample.location is None), None)
        if imageless is not None:
            raise ValueError(f"{imageless} has no image beside it (looked for {', '.join(EXTENSIONS)})")
        if not samples:
            raise ValueError("no member is an image; expected key.jpg beside key.cls or key.json")
    return samples


def _members(tar: Path, size: int) -> Iterator[tarfile.TarInfo]:
    """Iterate over the regular files in a tar; raise ValueError if one does not end within it or it is compressed."""
    with _opened(tar) as archive:
        last = -1
        while (member := archive.next()) is not None:
            if member.offset <= last:  # a crafted header may point back
                raise ValueError(f"{member.name} stands before its predecessor")
            last = member.offset
            archive.members = []  # type: ignore[attr-defined]  # tarfile keeps all of them
            if not member.isreg() or member.issparse():
                continue
            if member.size < 0 or member.offset_data + member.size > size:
                raise ValueError(f"{member.name} does not end before the file does; was it cut short?")
            yield member
        # tarfile takes a damaged or truncated header for the end
        archive.fileobj.seek(archive.offset)
        if any(archive.fileobj.read(tarfile.BLOCKSIZE)):
            raise ValueError(
                f"there is no header at byte {archive.offset}, and no end of the tar: it is damaged"
            )


def _opened(tar: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(tar, "r:")
    except tarfile.ReadError as error:
        raise ValueError("it is not a tar, or it is compressed: decompress it") from error


def _check_size(member: tarfile.TarInfo, most: int) -> None:
    if member.size > most:
        raise ValueError(f"{member.name} has {member.size} bytes, more than {most}")
