"""The layout of `findings.json` as a JSON Schema, made from the classes that are written into it."""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import PydanticOmit, core_schema

from weakspot.findings.record import FILE, SCHEMA, Findings

_SEAL = {
    "seal": {
        "type": "string",
        "pattern": "^[0-9a-f]{8}$",
        "description": "CRC-32 of the file, computed with this value as zeros.",
    },
    "checksums": {
        "type": "object",
        "additionalProperties": {"type": "string", "pattern": "^[0-9a-f]{8}$"},
        "description": "CRC-32 of each table beside the file, by its name.",
    },
}
"""What a file holds besides the fields of `Findings` (`weakspot.predictions.seals`)."""


_DEFINITIONS = {
    "AuditedSet": "Whole",
    "ClassMetrics": "ClassRow",
    "ClassPair": "Pair",
}
"""The names that definitions keep in the schema, whatever their classes are called: other schemas may refer to them."""


class _WithoutTables(GenerateJsonSchema):
    """Leaves out the tables, which lie in Parquet files beside `findings.json`."""

    def is_instance_schema(self, schema: core_schema.IsInstanceSchema) -> JsonSchemaValue:
        raise PydanticOmit

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Leave out titles, which would only repeat the fields' names."""
        return False


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of `findings.json` in the version that this package writes.

    Fields that it does not name are allowed: a later package may add some without changing the version.
    """
    schema = TypeAdapter(Findings).json_schema(schema_generator=_WithoutTables)
    schema["properties"] = _SEAL | schema["properties"] | {"schema": {"const": SCHEMA}}
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": f"urn:weakspot:{FILE}:{SCHEMA}",
        **_with_kept_names(schema),
    }


def _with_kept_names(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with definitions under the names that they keep."""
    text = json.dumps(schema)
    for name, kept in _DEFINITIONS.items():
        text = text.replace(f'"#/$defs/{name}"', f'"#/$defs/{kept}"')
    renamed: dict[str, Any] = json.loads(text)
    definitions = renamed["$defs"]
    for name, kept in _DEFINITIONS.items():
        definitions[kept] = definitions.pop(name) | {"title": kept}
    renamed["$defs"] = dict(sorted(definitions.items()))
    return renamed


def json_schema_text() -> str:
    """Return the JSON Schema as text, as `docs/findings.schema.json` holds it."""
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"
