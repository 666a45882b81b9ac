"""Images in Parquet shards, with a label and attributes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int

from weakspot.datasets.inputs.image_shards import ImageShards, ShardTables, stem
from weakspot.datasets.readers.parquet_shards import LARGEST_GROUP, group_sizes, read_columns
from weakspot.images import LARGEST_IMAGE, Pixels
from weakspot.legible import as_utf8
from weakspot.predictions.reading import reading

_BATCH = 64  # rows


class ImageParquet(ImageShards):
    """Reads images from the Parquet files of `root`: a column of bytes (or of `{bytes, path}`, Hugging Face's format).

    `image`, `label` and `id` name columns; without a column `id`, an example is called by its file and its row there. A
    column `split` counts where the files' names say nothing of splits. All other columns are attributes.

    `classes` gives the classes and their order, and names those that labels number from 0; without it they are the
    labels of all splits. `task` is classification or regression, by default as the labels look.

    A row is read with its row group, which is kept until another is asked for: in order, each loading process reads
    each once. In the random order of training a group is read for every image, so write small ones (ten images or so),
    or tars.

    Raises FileNotFoundError or ValueError, naming the file and the row or column.
    """

    no_difference = ImageShards.no_difference | {"id"}

    def __init__(
        self,
        split: str,
        root: str | Path | None = None,
        image: str = "image",
        label: str = "label",
        id: str = "id",
        classes: Sequence[str] | None = None,
        task: str | None = None,
        size: int | None = 224,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        pixels: Pixels = "as_shown",
    ) -> None:
        super().__init__(split, root, ".parquet", classes, size, mean, std, pixels)
        assert self.root is not None
        self.column = image
        groups = [group_sizes(self.root / shard, image) for shard in self.shards]
        counts = [sum(rows) for rows in groups]
        starts = np.concatenate([[0], np.cumsum(counts)])
        table = read_columns([self.root / shard for shard in self.shards], (label, id, "split"))

        def locate(row: int) -> str:
            shard = int(np.searchsorted(starts, row, side="right")) - 1
            return f"{self.root}/{as_utf8(self.shards[shard])}, row {row - starts[shard] + 1}"

        table_file = ShardTables(self.root, table, where=locate)
        if table_file.has_column(id):
            ids = table_file.unique_texts(id)
            table_file = ShardTables(self.root, table.drop_columns([id]), where=locate)
        else:
            ids = [
                f"{stem(shard)}/{row:06d}"
                for shard, count in zip(self.shards, counts, strict=True)
                for row in range(count)
            ]
        self._rows: Int[np.ndarray, " m"] = self.choose(table_file, label, ids, counts, classes, task)
        self._groups = [(shard, group) for shard, rows in enumerate(groups) for group in range(len(rows))]
        self._starts = np.concatenate([[0], np.cumsum([count for rows in groups for count in rows])])
        self._kept: tuple[int, pa.ChunkedArray] | None = None

    def content(self, row: int) -> bytes:
        at = int(self._rows[row])
        group = int(np.searchsorted(self._starts, at, side="right")) - 1
        if self._kept is None or self._kept[0] != group:
            self._kept = None  # one group at a time
            self._kept = (group, self._read(group))
        value = self._kept[1][at - int(self._starts[group])].as_py()
        encoded: bytes | None = value["bytes"] if isinstance(value, dict) else value
        if encoded is None:
            raise ValueError("there is none")
        if len(encoded) > LARGEST_IMAGE:
            raise ValueError(f"it has {len(encoded)} bytes, more than {LARGEST_IMAGE}")
        return encoded

    def _read(self, group: int) -> pa.ChunkedArray:
        assert self.root is not None
        shard, number = self._groups[group]
        path = self.root / self.shards[shard]
        with reading(path, self.column), pq.ParquetFile(path) as file:
            parts, held = [], 0
            # few rows at a time: a short file can refer to a large image any number of times
            for batch in file.iter_batches(_BATCH, row_groups=[number], columns=[self.column]):
                parts.append(batch.column(0))
                held += parts[-1].nbytes
                if held > LARGEST_GROUP:
                    raise ValueError(
                        f"row group {number} has more than {LARGEST_GROUP} bytes: write smaller ones"
                    )
            images = pa.chunked_array(parts, file.schema_arrow.field(self.column).type)
            images.validate(full=True)
            if len(images) != self._starts[group + 1] - self._starts[group]:
                raise ValueError("it has other rows than when it was opened")
            return images

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_kept": None}
