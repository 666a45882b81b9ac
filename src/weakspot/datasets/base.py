"""The contract of a dataset: examples that each have a stable id, attributes, a target, an input and a preview."""

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

from weakspot.identity import Identifiable
from weakspot.predictions.attribute_tables import RESERVED_NAMES
from weakspot.predictions.plain_columns import plain_table
from weakspot.tasks import Task

log = logging.getLogger(__name__)


class Dataset(Identifiable, torch.utils.data.Dataset[dict[str, Any]], ABC):
    """Represents one split of a dataset.

    A subclass sets `task`, `targets` and `examples` in `__init__`, and implements `input`, `preview` and
    `fingerprint`. Checkpoints, predictions and findings are cached under the class, its settings and its
    fingerprint; settings that change no result except through the fingerprint are named in `no_difference`.

    Attributes:
        task: What the model has to predict; it also knows the classes.
        targets: (n,) class indices, or floats for a regression; (n, C) in {0, 1} for a multilabel task; (n, 2)
            for question answering.
        examples: A table of n rows: `id` first (unique strings, the same in every run), then the attributes that
            describe slices, which no model or method ever sees.
        texts: The text of each row, in datasets of texts; slices are described by its words.
        group: The attribute whose equal values belong together (patients, cameras, users): examples with the same
            value are never on both sides of a split that tests slices.
        restating: Attributes that only repeat the target, and so explain no failure; they are not shown.
    """

    no_difference = frozenset({"root", "download"})
    decodes: ClassVar[bool] = False
    """Whether reading an item takes so long, as it does for image files, that separate loading processes pay off."""

    splits: ClassVar[tuple[str, ...]] = ("train", "val", "test")
    task: Task
    targets: Num[np.ndarray, "n ..."]
    examples: pa.Table
    texts: Sequence[str] | None = None
    group: str | None = None
    restating: Sequence[str] = ()

    def __init__(self, split: str, root: str | Path | None = None) -> None:
        """Check the split's name and keep the folder.

        Args:
            split: One of `splits`.
            root: The folder of the files; a dataset that needs none ignores it.

        Raises:
            ValueError: If there is no such split.
        """
        if split not in self.splits:
            known = ", ".join(self.splits)
            raise ValueError(f"{type(self).__name__} has no split {split!r}; it has: {known}")
        self.split = split
        self.root = None if root is None else Path(root).expanduser()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row: int) -> dict[str, Any]:
        """Return the row's model input, its target, and its index, by which results are put back in order."""
        index = range(len(self))[row]
        target = self.targets[index]
        return {
            "input": self.input(index),
            "target": _target_value(target) if target.ndim == 0 else torch.from_numpy(target),
            "index": index,
        }

    @abstractmethod
    def input(self, row: int) -> Any:
        """Return the model's input for this row: a float tensor (3, H, W) for an image, a mapping for a text."""

    @abstractmethod
    def preview(self, row: int) -> Any:
        """Return what a person looks at: a PIL image in full colour, a text, or a mapping of values."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a digest of all data of the split, so that nothing computed from other data is reused."""

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate items into the batch that a model and its task receive; texts are padded to one length."""
        batch: dict[str, Any] = default_collate(items)
        return batch

    def augmented(self) -> Dataset:
        """Return the split for training: the same rows, randomly augmented if the dataset defines that."""
        return self

    def judge(self, rows: np.ndarray, predictions: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return columns of the record (labels, predictions, correct) that replace those of the task.

        A task compares numbers; if the answer is a text, for example, only the dataset can compare it.

        Args:
            rows: (b,) indices of rows.
            predictions: (b, ...) of these rows, in the format of the targets.
        """
        return {}

    def scores(self, predictions: np.ndarray) -> Mapping[str, float]:
        """Return scores of the predictions of all rows that only the dataset can compute."""
        return {}

    def check(self) -> None:
        """Raise ValueError if targets and examples do not fit together or are empty."""
        name = f"{type(self).__name__} ({self.split})"
        columns = self.examples.column_names
        if not columns or columns[0] != "id":
            raise ValueError(f"{name}: the first column of examples must be 'id', not {columns[:1]}")
        if len(self) == 0:
            raise ValueError(f"{name} is empty: there is nothing to read from {self.root or 'it'}")
        if self.examples.num_rows != len(self):
            raise ValueError(f"{name}: {self.examples.num_rows} examples but {len(self)} targets")
        reserved = [column for column in columns[1:] if column in RESERVED_NAMES]
        if reserved:
            raise ValueError(
                f"{name}: no attribute may be called {reserved[0]!r}; choose another name for it"
            )
        ids = self.examples["id"].to_pylist()
        if len(set(ids)) < len(ids):
            first = {text: row for row, text in reversed(list(enumerate(ids)))}
            row, text = next((row, text) for row, text in enumerate(ids) if first[text] != row)
            raise ValueError(
                f"{name}: the id {text!r} is in rows {first[text]} and {row}; ids must be unique"
            )


def plain_examples(dataset: Dataset) -> pa.Table:
    """Return the examples with every attribute in one of the plain types that descriptions can handle.

    An attribute that no plain type can hold is left out, with a warning that says why.
    """
    attributes, left_out = plain_table(dataset.examples.drop_columns(["id"]))
    for name, reason in left_out.items():
        log.warning(
            "%s (%s): attribute %r is left out: %s", type(dataset).__name__, dataset.split, name, reason
        )
    names = ["id", *attributes.column_names]
    return pa.table([dataset.examples["id"], *attributes.columns], names=names)


def _target_value(target: np.generic) -> int | torch.Tensor:
    """Return a class index as an int, a real number as float32, which every device supports."""
    return int(target) if isinstance(target, np.integer) else torch.tensor(target, dtype=torch.float32)


def digest(examples: pa.Table, targets: np.ndarray, *parts: bytes | np.ndarray) -> str:
    """Return sixteen hex digits that identify examples, targets and further parts of the data (bytes, arrays)."""
    sha = hashlib.sha256(json.dumps(examples.to_pydict(), default=str).encode())
    for part in (targets, *parts):
        if isinstance(part, np.ndarray):
            sha.update(f"{part.dtype}{part.shape}".encode())
            sha.update(np.ascontiguousarray(part).data)
        else:
            sha.update(part)
    return sha.hexdigest()[:16]
