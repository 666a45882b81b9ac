"""Datasets whose images lie in a few large files (tars or Parquet): finding the files, splits and decoding."""

from __future__ import annotations

import io
import re
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
from jaxtyping import Int
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from weakspot.datasets.base import Dataset, digest
from weakspot.datasets.inputs.images import Scaling
from weakspot.datasets.readers.labels import read_labels
from weakspot.datasets.readers.splits import fill_splits
from weakspot.datasets.readers.tables import TableFile
from weakspot.datasets.readers.walk import files_below
from weakspot.image_formats import open_image
from weakspot.images import Pixels, check_pixels, to_rgb
from weakspot.legible import as_utf8

_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
}


@dataclass(frozen=True, eq=False)
class ShardTables(TableFile):
    """The rows of all shards, as one table; `where` names the shard of a row."""

    where: Callable[[int], str] = str

    def location(self, row: int) -> str:
        return self.where(row)


class ImageShards(Dataset):
    """A dataset whose images lie in files below `root` whose names end in `ending`.

    A shard's path names its split (`imagenet-train-0007.tar`, `val/03.parquet`). If no path does, a column `split`
    assigns the rows, or else a hash of their ids, about 7 : 1 : 2. If only val is missing, it is a tenth of train.

    Subclasses read `shards` with their `shard_splits`, call `choose`, and write `content`.
    """

    decodes = True
    no_difference = Dataset.no_difference | {"label", "classes"}  # they are in the fingerprint and the task

    def __init__(
        self,
        split: str,
        root: str | Path | None,
        ending: str,
        classes: Sequence[str] | None = None,
        size: int | None = 224,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        pixels: Pixels = "as_shown",
    ) -> None:
        super().__init__(split, root)
        check_pixels(pixels)
        self.pixels = pixels
        self.scaling = Scaling(size, mean, std)
        if self.root is None or not self.root.is_dir():
            raise FileNotFoundError(
                f"no folder of {ending} files at {root}; set dataset.root to the one that holds them"
            )
        self.shards = files_below(self.root, (ending,))
        if not self.shards:
            raise FileNotFoundError(
                f"no {ending} files below {self.root}; set dataset.root to where they are"
            )
        self.shard_splits = _named_splits(self.root, self.shards)
        self.names_val = self.shard_splits is not None and "val" in self.shard_splits
        if self.shard_splits is not None and classes is not None:
            # the classes are known, so the shards of other splits are not read
            own = (
                self.shard_splits
                if split in self.shard_splits
                else ["val" if s == "train" else s for s in self.shard_splits]
            )
            if split in own:
                selected = [at for at, name in enumerate(own) if name == split]
                self.shards, self.shard_splits = (
                    [self.shards[at] for at in selected],
                    [self.shard_splits[at] for at in selected],
                )

    def choose(
        self,
        table_file: TableFile,
        label: str,
        ids: Sequence[str],
        counts: Sequence[int],
        classes: Sequence[str] | None,
        task: str | None,
    ) -> Int[np.ndarray, " m"]:
        """Set task, targets and examples from the table, and return the indices of the rows in this split.

        Args:
            table_file: The rows of all shards, `label` and attributes.
            label: The column of labels.
            ids: The id of each row.
            counts: How many rows each shard has.
            classes: The classes in order; by default those that occur.
            task: "classification" or "regression"; by default numbers with fractions are a regression.
        """
        if not table_file.has_column(label):
            there = ", ".join(table_file.table.column_names) or "nothing"
            raise ValueError(
                f"{table_file.file}: no row has a {label!r}; name the labels' column: dataset.label=… (it has: {there})"
            )
        self.task, targets = read_labels(table_file, label, classes, None, task)
        shard_splits: Sequence[str] | None = None
        if self.shard_splits is not None:
            shard_splits = np.repeat(self.shard_splits, counts).tolist()
        elif table_file.has_column("split"):
            shard_splits = table_file.required_texts("split", self.splits)
        # shards of val may exist without having been read; `fill_splits` would then take val from train
        assigned = np.array(shard_splits) if self.names_val else fill_splits(ids, shard_splits)
        rows = np.flatnonzero(assigned == self.split)
        if len(rows) == 0:
            have = ", ".join(sorted(set(assigned.tolist())))
            raise ValueError(
                f"no image below {self.root} is in split {self.split!r}; there are some in: {have}"
            )
        self.targets = targets[rows]
        about = [name for name in table_file.table.column_names if name not in (label, "split")]
        own_ids = pa.array([ids[row] for row in rows.tolist()], pa.string())
        attributes = table_file.table.select(about).take(pa.array(rows))
        self.examples = pa.table([own_ids, *attributes.columns], names=["id", *about]).combine_chunks()
        return rows

    @abstractmethod
    def content(self, row: int) -> bytes:
        """Return the encoded image of a row."""

    def input(self, row: int) -> Tensor:
        return self.scaling(self.preview(row))

    def preview(self, row: int) -> Image.Image:
        """Decode the image; raise ValueError, naming the row, if it is missing or cannot be read."""
        try:
            with open_image(io.BytesIO(self.content(row))) as file:
                return to_rgb(file, self.pixels)
        except (OSError, ValueError) as error:
            reason = "it is not an image" if isinstance(error, UnidentifiedImageError) else error
            raise ValueError(
                f"row {row} of {self.split}: {self.root}/{self.examples['id'][row]} cannot be read as an image "
                f"({reason}); repair or remove it"
            ) from error

    def fingerprint(self) -> str:
        """Digest the rows and the shards' names, sizes and modification times; reading every pixel takes too long."""
        assert self.root is not None
        stats = [(self.root / shard).stat() for shard in self.shards]
        times = np.array([(stat.st_size, stat.st_mtime_ns) for stat in stats])
        names = "\0".join(self.shards).encode("utf-8", "surrogateescape")
        return digest(self.examples, self.targets, times, names)


def stem(shard: str) -> str:
    """Return the prefix of a shard's ids: its path below root, without its ending."""
    return as_utf8(str(PurePosixPath(shard).with_suffix("")))


def _named_splits(root: Path, shards: Sequence[str]) -> list[str] | None:
    """Return the split in each shard's path; None if no path has one."""
    named = []
    for shard in shards:
        words = re.split(r"[/._-]", shard.lower())
        named.append({_WORDS[word] for word in words if word in _WORDS})
    for shard, splits in zip(shards, named, strict=True):
        if len(splits) != 1 and any(named):
            what = f"both {' and '.join(sorted(splits))}" if splits else "no split, and others do"
            raise ValueError(f"{root / as_utf8(shard)} names {what}; rename it, or move it away")
    return [splits.pop() for splits in named] if any(named) else None
