"""Images in tars, as webdataset writes them, read without extracting anything."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from weakspot.datasets.inputs.image_shards import ImageShards, ShardTables, stem
from weakspot.datasets.readers.tars import TarSample, read_samples
from weakspot.images import Pixels
from weakspot.predictions.attributes import suggest_names
from weakspot.predictions.plain_columns import plain_table

_MOST_ATTRIBUTES = 1000

log = logging.getLogger(__name__)


class WebDataset(ImageShards):
    """Reads images from the tars of `root`: `key.jpg` (or another image extension) beside `key.cls` or `key.json`.

    The label is the content of `key.cls`, a class's number or name, or else the field `label` of `key.json`; all its
    other fields are attributes. Members of other kinds are skipped, pickles (.pyd, .pickle) included. The key is a
    member's path up to the first dot of its name.

    `classes` gives the classes in order; labels may then be their indices from 0. Without it, the classes are the
    labels of all splits. `task` is classification or regression; by default the labels decide.

    Headers of tars are read once in each process; images are then read by their offsets, in any order.

    Raises FileNotFoundError or ValueError, naming tar and key.
    """

    def __init__(
        self,
        split: str,
        root: str | Path | None = None,
        label: str = "label",
        classes: Sequence[str] | None = None,
        task: str | None = None,
        size: int | None = 224,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        pixels: Pixels = "as_shown",
    ) -> None:
        super().__init__(split, root, ".tar", classes, size, mean, std, pixels)
        assert self.root is not None
        tars = [read_samples(self.root / shard) for shard in self.shards]
        counts = [len(tar) for tar in tars]
        ids = [f"{stem(shard)}/{key}" for shard, tar in zip(self.shards, tars, strict=True) for key in tar]
        samples = [sample for tar in tars for sample in tar.values()]
        table = _table(self.root, samples, label)
        table_file = ShardTables(self.root, table, where=lambda row: f"{self.root}/{ids[row]}")
        rows = self.choose(table_file, label, ids, counts, classes, task)
        self._tars: Int[np.ndarray, " m"] = np.repeat(np.arange(len(tars)), counts)[rows]
        self._locations = np.array([samples[row].location for row in rows], dtype=np.int64)

    def content(self, row: int) -> bytes:
        assert self.root is not None
        offset, size = map(int, self._locations[row])
        with (self.root / self.shards[self._tars[row]]).open("rb") as file:
            file.seek(offset)
            encoded: bytes = file.read(size)
        if len(encoded) < size:
            raise ValueError("its tar has been cut short")
        return encoded


def _table(root: Path, samples: Sequence[TarSample], label: str) -> pa.Table:
    """Make a table of the labels, as texts, and of every other field of the JSON members."""
    names = list(
        dict.fromkeys(name for sample in samples for name in sample.about if name not in ("id", label))
    )
    if len(names) > _MOST_ATTRIBUTES:
        raise ValueError(f"{root}: the JSON members have {len(names)} fields, more than {_MOST_ATTRIBUTES}")
    labels = [_text(sample.about.get(label)) if sample.label is None else sample.label for sample in samples]
    columns = {
        name: _column([sample.about.get(name) for sample in samples]) for name in names if name != "split"
    }
    attributes, left_out = plain_table(pa.table(columns))
    for name, reason in left_out.items():
        log.warning("%s: attribute %r is left out: %s", root, name, reason)
    texts = (
        {} if "split" not in names else {"split": [_text(sample.about.get("split")) for sample in samples]}
    )
    if any(text is not None for text in labels):
        if label != "label" and not any(label in sample.about for sample in samples):
            raise ValueError(
                f"dataset.label={label}: no JSON member in {root} has it (leave it out to read key.cls)"
                f"{suggest_names(label, names)}"
            )
        texts[label] = labels
    return pa.table(
        [*attributes.columns, *(pa.array(column, pa.string()) for column in texts.values())],
        names=[*attributes.column_names, *texts],
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _column(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):  # values of several types
        texts = [value if isinstance(value, str) or value is None else json.dumps(value) for value in values]
        return pa.array(texts, pa.string())
