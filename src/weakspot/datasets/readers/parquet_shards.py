"""Reads Parquet shards with a column of encoded images: images one by one, all other columns at once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from weakspot.image_formats import LARGEST_IMAGE
from weakspot.predictions.arrow_columns import holds_encoded_images
from weakspot.predictions.plain_columns import plain_table
from weakspot.predictions.reading import read_parquet, reading

LARGEST_GROUP = 1 << 30
"""The most bytes of encoded images that each loading process holds at once."""

_BATCH = 64  # rows

log = logging.getLogger(__name__)


def group_sizes(path: Path, image: str) -> list[int]:
    """Return each row group's number of rows; raise ValueError if `image` holds no images or a group is too large."""
    with reading(path), pq.ParquetFile(path) as file:
        schema, about = file.schema_arrow, file.metadata
        if image not in schema.names:
            raise ValueError(
                f"there is no column {image!r}; say which holds the images: dataset.image=… (it has: "
                f"{', '.join(schema.names)})"
            )
        kind = schema.field(image).type
        if not holds_encoded_images(kind):
            raise ValueError(f"column {image!r} holds {kind}, not the bytes of images")
        groups = [about.row_group(number) for number in range(about.num_row_groups)]
        for number, group in enumerate(groups):
            if group.total_byte_size > LARGEST_GROUP:
                raise ValueError(f"row group {number} has {group.total_byte_size} bytes: write smaller ones")
        return [group.num_rows for group in groups]


class EncodedImages:
    """Encoded images in a column of Parquet files, numbered through all files.

    A row is read with its row group, which is kept until another group is needed.

    Args:
        files: The files.
        column: Their column of bytes, or of `{bytes, path}`.

    Raises:
        ValueError: A file has no such column.
    """

    def __init__(self, files: Sequence[Path], column: str) -> None:
        self._files, self._column = files, column
        groups = [group_sizes(file, column) for file in files]
        self.counts = [sum(rows) for rows in groups]
        self._groups = [(file, group) for file, rows in enumerate(groups) for group in range(len(rows))]
        self._starts = np.concatenate([[0], np.cumsum([count for rows in groups for count in rows])])
        self._kept: tuple[int, pa.ChunkedArray] | None = None

    def content(self, row: int) -> bytes:
        """Return the encoded image of a row; raise ValueError if it is missing or too large."""
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        if self._kept is None or self._kept[0] != group:
            self._kept = None  # one group at a time
            self._kept = (group, self._read(group))
        value = self._kept[1][row - int(self._starts[group])].as_py()
        encoded: bytes | None = value["bytes"] if isinstance(value, dict) else value
        if encoded is None:
            raise ValueError("there is none")
        if len(encoded) > LARGEST_IMAGE:
            raise ValueError(f"it has {len(encoded)} bytes, more than {LARGEST_IMAGE}")
        return encoded

    def _read(self, group: int) -> pa.ChunkedArray:
        index, number = self._groups[group]
        path = self._files[index]
        with reading(path, self._column), pq.ParquetFile(path) as file:
            parts, held = [], 0
            # few rows at a time: a short file can refer to a large image any number of times
            for batch in file.iter_batches(_BATCH, row_groups=[number], columns=[self._column]):
                parts.append(batch.column(0))
                held += parts[-1].nbytes
                if held > LARGEST_GROUP:
                    raise ValueError(
                        f"row group {number} has more than {LARGEST_GROUP} bytes: write smaller ones"
                    )
            images = pa.chunked_array(parts, file.schema_arrow.field(self._column).type)
            images.validate(full=True)
            if len(images) != self._starts[group + 1] - self._starts[group]:
                raise ValueError("its number of rows has changed since it was opened")
            return images

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_kept": None}


def read_columns(files: Sequence[Path], counts: Sequence[int], texts: Sequence[str]) -> pa.Table:
    """Read all columns of all files except the images.

    Args:
        files: The files.
        counts: How many images each file has.
        texts: Columns that are read as strings.

    Raises:
        ValueError: A file is damaged, or its columns have other types than those of the first file.
    """
    parts = []
    for file, count in zip(files, counts, strict=True):
        with reading(file):
            schema = pq.read_schema(file)
        part = read_parquet(file, [field.name for field in schema if holds_encoded_images(field.type)])
        with reading(file):
            if part.num_columns and part.num_rows != count:
                raise ValueError(
                    f"it announces {count} images, but its other columns have {part.num_rows} rows"
                )
        parts.append(part)
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
