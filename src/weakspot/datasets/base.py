"""What a dataset is: numbered examples with a stable id, attributes, a target and something to look at."""

from __future__ import annotations

import hashlib
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Num
from torch.utils.data import default_collate

from weakspot.identity import Identified
from weakspot.predictions.plain import plain_table
from weakspot.predictions.tables import RESERVED
from weakspot.tasks import Task

log = logging.getLogger(__name__)


class Dataset(Identified, torch.utils.data.Dataset[dict[str, Any]], ABC):
    """One split of a dataset. Subclass it, set the three attributes in `__init__`, write the three methods.

    task      what the model is asked; it alone knows the classes
    targets   (n,) class indices, or floats for a regression; (n, C) in {0, 1} for a multilabel task; (n, 2) for
              question answering
    examples  table of n rows: `id` first (strings, unique, the same in every run), then attributes, by which
              slices are described and which no model or method ever sees

    texts     for datasets of texts: what is written in each row, by whose words slices are described
    group     an attribute whose values belong together (patients, cameras, users): examples of one value are never
              on both sides of a split that tests slices
    restating attributes that say what the target says, and so explain no failure; they are not shown

    `root` is where the files lie; a dataset that needs none ignores it.

    What is made from a dataset is kept under its class, its settings and its `fingerprint`. Settings that change
    no result beyond what the fingerprint says are named in `no_difference`.
    """

    no_difference = frozenset({"root", "download"})
    decodes: ClassVar[bool] = False
    """Whether to read an item takes so long, as it does for images in files, that processes of their own pay."""

    splits: ClassVar[tuple[str, ...]] = ("train", "val", "test")
    task: Task
    targets: Num[np.ndarray, "n ..."]
    examples: pa.Table
    texts: Sequence[str] | None = None
    group: str | None = None
    restating: Sequence[str] = ()

    def __init__(self, split: str, root: str | Path | None = None) -> None:
        if split not in self.splits:
            known = ", ".join(self.splits)
            raise ValueError(f"{type(self).__name__} has no split {split!r}; it has: {known}")
        self.split = split
        self.root = None if root is None else Path(root).expanduser()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row: int) -> dict[str, Any]:
        """The example as a model takes it, and its row, by which results are put back in place."""
        index = range(len(self))[row]
        target = self.targets[index]
        return {
            "input": self.input(index),
            "target": _target_value(target) if target.ndim == 0 else torch.from_numpy(target),
            "index": index,
        }

    @abstractmethod
    def input(self, row: int) -> Any:
        """What the model reads of this row: for images a float tensor (3, H, W), for texts a mapping."""

    @abstractmethod
    def preview(self, row: int) -> Any:
        """What a person would look at: a PIL image in full colour, a text, or a mapping of values."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A digest of all that the data are, so that nothing computed from other data is reused."""

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """Items as one batch: what a model and its task receive. Texts of unequal lengths are padded here."""
        batch: dict[str, Any] = default_collate(items)
        return batch

    def augmented(self) -> Dataset:
        """This split as training sees it: the same rows, with random changes where a dataset has any."""
        return self

    def judge(self, rows: np.ndarray, predictions: np.ndarray) -> Mapping[str, np.ndarray]:
        """Columns of the record (labels, predictions, correct) that the data can tell better than the task.

        A task compares numbers; where what was meant is a text, say, only the dataset can compare that.
        """
        return {}

    def scores(self, predictions: np.ndarray) -> Mapping[str, float]:
        """Measures of a record's predictions, all rows of them, that only the data can tell."""
        return {}

    def check(self) -> None:
        """Raise ValueError where targets and examples do not fit together, or are empty."""
        name = f"{type(self).__name__} ({self.split})"
        columns = self.examples.column_names
        if not columns or columns[0] != "id":
            raise ValueError(f"{name}: the first column of examples must be 'id', not {columns[:1]}")
        if len(self) == 0:
            raise ValueError(f"{name} is empty: there is nothing to read from {self.root or 'it'}")
        if self.examples.num_rows != len(self):
            raise ValueError(f"{name}: {self.examples.num_rows} examples but {len(self)} targets")
        reserved = [column for column in columns[1:] if column in RESERVED]
        if reserved:
            raise ValueError(
                f"{name}: no attribute may be called {reserved[0]!r}; choose another name for it"
            )
        ids = self.examples["id"].to_pylist()
        if len(set(ids)) < len(ids):
            first = {text: row for row, text in reversed(list(enumerate(ids)))}
            row, text = next((row, text) for row, text in enumerate(ids) if first[text] != row)
            raise ValueError(
                f"{name}: the id {text!r} stands in rows {first[text]} and {row}; ids must be unique"
            )


def plain_examples(dataset: Dataset) -> pa.Table:
    """The examples with every attribute in the form that all that reads attributes knows, whatever type it came in.

    What cannot be described is left out, with a warning that says why.
    """
    attributes, left_out = plain_table(dataset.examples.drop_columns(["id"]))
    for name, reason in left_out.items():
        log.warning(
            "%s (%s): attribute %r is left out: %s", type(dataset).__name__, dataset.split, name, reason
        )
    names = ["id", *attributes.column_names]
    return pa.table([dataset.examples["id"], *attributes.columns], names=names)


def _target_value(target: np.generic) -> int | torch.Tensor:
    """A class index, or a real number in the precision that models have (some devices know no other)."""
    return int(target) if isinstance(target, np.integer) else torch.tensor(target, dtype=torch.float32)


def digest(examples: pa.Table, targets: np.ndarray, *parts: bytes | np.ndarray) -> str:
    """Sixteen hex digits of examples, targets, and whatever else the data are made of (bytes, arrays)."""
    sha = hashlib.sha256(json.dumps(examples.to_pydict(), default=str).encode())
    for part in (targets, *parts):
        if isinstance(part, np.ndarray):
            sha.update(f"{part.dtype}{part.shape}".encode())
            sha.update(np.ascontiguousarray(part).data)
        else:
            sha.update(part)
    return sha.hexdigest()[:16]
