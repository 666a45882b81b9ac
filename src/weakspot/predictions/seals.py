"""Seals: checksums at the head of a JSON file that reveal damage in the file and in the files beside it.

A file begins with {"seal": "9ae0daaf", "checksums": {"weights.parquet": "0be3f1c2"}, … The seal is the CRC-32 of the
file with zeros in place of the seal; the checksums are those of the other files. Earlier versions wrote no seals.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from weakspot.predictions.atomic_files import checksum
from weakspot.predictions.reading import DamagedError, reading

_SEAL = re.compile(rb'\A(\{"seal": ")([0-9a-f]{8})"')
_ZEROS = b"00000000"
_KEYS = ("seal", "checksums")


def add_seal(text: bytes, files: Sequence[Path]) -> bytes:
    """Return the text of a JSON object with a seal and these files' checksums inserted before its own fields."""
    checksums = json.dumps({path.name: checksum(path) for path in files})
    unsealed = b'{"seal": "%s", "checksums": %s,%s' % (_ZEROS, checksums.encode(), text.removeprefix(b"{"))
    return unsealed.replace(_ZEROS, _checksum(unsealed), 1)


def check_seal(path: Path, fields: Mapping[str, Any], names: Sequence[str], remedy: str) -> None:
    """Raise DamagedError if a file, or one of those beside it, differs from what was written.

    Args:
        path: A file with a seal, or one from an earlier version.
        fields: The fields of the file.
        names: The names of the files beside it.
        remedy: What the user can do about damage, for the error.
    """
    if not any(key in fields for key in _KEYS):  # a flipped bit changes at most one of the keys
        return
    content = path.read_bytes()
    seal = _SEAL.match(content)
    if seal is None or _checksum(_SEAL.sub(rb"\g<1>" + _ZEROS + b'"', content)) != seal[2]:
        raise _damaged(path, remedy)
    for name in names:
        check_checksum(path, fields["checksums"], name, remedy)


def without_seal(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that do not belong to the seal."""
    return {name: value for name, value in fields.items() if name not in _KEYS}


def check_checksum(path: Path, checksums: Any, name: str, remedy: str) -> None:
    """Raise DamagedError if the file `name` beside `path` does not match its checksum in `checksums`."""
    with reading(path, "checksums"):
        expected = checksums[name]
    if checksum(path.with_name(name)) != expected:
        raise _damaged(path.with_name(name), remedy)


def _checksum(content: bytes) -> bytes:
    return b"%08x" % zlib.crc32(content)


def _damaged(path: Path, remedy: str) -> DamagedError:
    return DamagedError(f"{path} cannot be read: its content is not what was written; {remedy}")
