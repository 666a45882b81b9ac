"""Reads records from JSON files, and checks their version and the types of all fields."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from weakspot.predictions.reading import DamagedError, reading

_ADVICE = "run discover.py again"
T = TypeVar("T")


def read_typed(file: Path, adapter: TypeAdapter[T], schema: int) -> tuple[T, dict[str, Any]]:
    """Read a record from a file.

    Args:
        file: A file that was written from such a record.
        adapter: The adapter of the record's type.
        schema: The version that the file must have.

    Returns:
        The record, and the fields of the file.

    Raises:
        DamagedError: If the file cannot be read, or a field has an invalid value; the message names the file.
        ValueError: If it is of another version.
    """
    with reading(file):
        fields: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        json.dumps(fields, ensure_ascii=False).encode()  # half a surrogate pair is not text
        if not isinstance(fields, dict):
            raise ValueError("it is not a JSON object")
        version = fields.get("schema")
    if version != schema:
        raise ValueError(
            f"{file} has schema {version!r}, and this version of weakspot reads {schema}; {_ADVICE}"
        )
    try:
        return adapter.validate_python(fields), fields
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DamagedError(f"{file} cannot be read: {where}: {first['msg']}; {_ADVICE}") from None
