"""Reads Parquet shards with a column of encoded images: the sizes of row groups, and all other columns."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from weakspot.predictions.plain_columns import plain_table
from weakspot.predictions.reading import read_parquet, reading

LARGEST_GROUP = 1 << 30
"""Bytes of encoded images that each loading process holds at once."""

log = logging.getLogger(__name__)


def group_sizes(path: Path, image: str) -> list[int]:
    """Return the number of rows of each row group; raise ValueError if no such column holds images of bounded size."""
    with reading(path), pq.ParquetFile(path) as file:
        schema, about = file.schema_arrow, file.metadata
        if image not in schema.names:
            raise ValueError(
                f"there is no column {image!r}; say which holds the images: dataset.image=… (it has: "
                f"{', '.join(schema.names)})"
            )
        kind = schema.field(image).type
        if not _is_of_images(kind):
            raise ValueError(f"column {image!r} holds {kind}, not the bytes of images")
        groups = [about.row_group(number) for number in range(about.num_row_groups)]
        for number, group in enumerate(groups):
            if group.total_byte_size > LARGEST_GROUP:
                raise ValueError(f"row group {number} has {group.total_byte_size} bytes: write smaller ones")
        return [group.num_rows for group in groups]


def _is_of_images(kind: pa.DataType) -> bool:
    """Whether values of this type are bytes or `{bytes, path}`."""
    if pa.types.is_struct(kind) and "bytes" in [part.name for part in kind]:
        kind = kind.field("bytes").type
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def read_columns(files: Sequence[Path], texts: Sequence[str]) -> pa.Table:
    """Read all columns of all files but those of images; those named in `texts` as strings."""
    parts = []
    for file in files:
        with reading(file):
            schema = pq.read_schema(file)
        parts.append(read_parquet(file, [field.name for field in schema if _is_of_images(field.type)]))
    for file, part in zip(files, parts, strict=True):
        try:
            pa.unify_schemas([parts[0].schema, part.schema], promote_options="permissive")
        except pa.ArrowException as error:
            raise ValueError(
                f"the columns of {file} are of other types than those of {files[0].name}: {error}"
            ) from error
    with reading(files[0]):
        raw = pa.concat_tables(parts, promote_options="permissive")
        taken = [name for name in raw.column_names if name in texts]
        attributes, left_out = plain_table(raw.drop_columns(taken))
        for name, reason in left_out.items():
            log.warning("%s: column %r is left out: %s", files[0].parent, name, reason)
        return pa.table(
            [*(raw[name].cast(pa.string()) for name in taken), *attributes.columns],
            names=[*taken, *attributes.column_names],
        )
