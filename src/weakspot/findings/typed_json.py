"""Records of what is said, read from JSON: of the version that is known, and of the types that are declared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from weakspot.predictions.reading import DamagedError, reading

_AGAIN = "run discover.py again"
T = TypeVar("T")


def read_typed(file: Path, adapter: TypeAdapter[T], schema: int) -> tuple[T, dict[str, Any]]:
    """The record in a file, and its fields as they stand there.

    Args:
        file: That was written from such a record.
        adapter: Of the record's type.
        schema: The version that the file must say.

    Raises:
        DamagedError: If the file cannot be read, or says what no such record can; it names the file.
        ValueError: If it is of another version.
    """
    with reading(file):
        fields: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        json.dumps(fields, ensure_ascii=False).encode()  # half a surrogate pair is no text
        said = fields.get("schema")
    if said != schema:
        raise ValueError(f"{file} has schema {said!r}, and this version of weakspot reads {schema}; {_AGAIN}")
    try:
        return adapter.validate_python(fields), fields
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DamagedError(f"{file} cannot be read: {where}: {first['msg']}; {_AGAIN}") from None
