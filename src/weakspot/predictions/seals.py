"""Seals: a JSON file that tells damage from what was written, in itself and in the files beside it.

{"seal": "9ae0daaf", "checksums": {"weights.parquet": "0be3f1c2"}, …   at its head: of the file, its own seal taken as
                                                                      zeros, and of the others (CRC-32)
Earlier versions sealed nothing.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from weakspot.predictions.folders import checksum
from weakspot.predictions.reading import DamagedError, reading

_SEAL = re.compile(rb'\A(\{"seal": ")([0-9a-f]{8})"')
_ZEROS = b"00000000"
_KEYS = ("seal", "checksums")


def sealed(text: bytes, files: Sequence[Path]) -> bytes:
    """The text of a JSON object with a seal, and the checksums of these files, before its own fields."""
    checksums = json.dumps({path.name: checksum(path) for path in files})
    unsealed = b'{"seal": "%s", "checksums": %s,%s' % (_ZEROS, checksums.encode(), text.removeprefix(b"{"))
    return unsealed.replace(_ZEROS, _checksum(unsealed), 1)


def check_seal(path: Path, fields: Mapping[str, Any], names: Sequence[str], remedy: str) -> None:
    """Raise DamagedError where a file, or one of those beside it, is another than was written.

    Args:
        path: A file that was sealed, or one that an earlier version wrote.
        fields: What it holds.
        names: The files beside it.
        remedy: What to do then.
    """
    if not any(key in fields for key in _KEYS):  # of two keys, one flipped bit leaves one
        return
    content = path.read_bytes()
    seal = _SEAL.match(content)
    if seal is None or _checksum(_SEAL.sub(rb"\g<1>" + _ZEROS + b'"', content)) != seal[2]:
        raise _damaged(path, remedy)
    for name in names:
        check_sum(path, fields["checksums"], name, remedy)


def without_seal(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are not of the seal."""
    return {name: value for name, value in fields.items() if name not in _KEYS}


def check_sum(path: Path, checksums: Any, name: str, remedy: str) -> None:
    """Raise DamagedError where the file of this name, beside `path` with its checksum, is another than was written."""
    with reading(path, "checksums"):
        wanted = checksums[name]
    if checksum(path.with_name(name)) != wanted:
        raise _damaged(path.with_name(name), remedy)


def _checksum(content: bytes) -> bytes:
    return b"%08x" % zlib.crc32(content)


def _damaged(path: Path, remedy: str) -> DamagedError:
    return DamagedError(f"{path} cannot be read: its content is not what was written; {remedy}")
