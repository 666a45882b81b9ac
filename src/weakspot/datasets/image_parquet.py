"""Images in Parquet shards, with a label and attributes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from weakspot.datasets.inputs.image_shards import ImageShards, ShardTables, stem
from weakspot.datasets.readers.parquet_shards import EncodedImages, read_columns
from weakspot.images import Pixels
from weakspot.legible import as_utf8


class ImageParquet(ImageShards):
    """Reads images from the Parquet files of `root`: a column of bytes (or of `{bytes, path}`, Hugging Face's format).

    `image`, `label` and `id` name columns; without a column `id`, an example's id is its file and its row there. A
    column `split` is used if the file names do not contain splits. All other columns are attributes.

    `classes` gives the classes in order; labels may then be their indices from 0. Without it, the classes are the
    labels of all splits. `task` is classification or regression; by default the labels decide.

    A row is read with its row group, which is kept until another is needed: in order, each loading process reads each
    group once. In the random order of training, a group is read for every image, so write small groups (about ten
    images), or tars.

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
        files = [self.root / shard for shard in self.shards]
        self._images = EncodedImages(files, image)
        counts = self._images.counts
        starts = np.concatenate([[0], np.cumsum(counts)])
        table = read_columns(files, counts, (label, id, "split"))

        def locate(row: int) -> str:
            shard = int(np.searchsorted(starts, row, side="right")) - 1
            return f"{self.root}/{as_utf8(self.shards[shard])}, row {row - starts[shard] + 1}"

        table_file = ShardTables(self.root, table, where=locate)
        table_file.check_chosen("id", id, "id")
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

    def content(self, row: int) -> bytes:
        return self._images.content(int(self._rows[row]))
