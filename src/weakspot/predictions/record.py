"""The Predictions record: arrays of equal length, checked once when the record is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Num, Shaped, UInt64

from weakspot.predictions import validation
from weakspot.predictions.attribute_tables import attribute_table
from weakspot.predictions.contradictions import warn_of_contradictions
from weakspot.predictions.mapped_copies import take_rows
from weakspot.predictions.row_hashes import hash_rows
from weakspot.predictions.targets import read_targets
from weakspot.tasks import QuestionAnswering, Regression, Task


@dataclass(frozen=True, eq=False)
class Predictions:
    """Holds a model's outputs for every example, with labels, losses, embeddings and attributes.

    Make a record with `from_arrays` (arrays of any library) or `load` (a store folder or a file); the constructor
    itself checks nothing. Arrays may be memory-mapped: treat them as read-only.

    Attributes:
        ids: Unique strings, (n,).
        embeddings: The input of the model's head, floats, (n, d).
        losses: The loss of each example, (n,), or None.
        labels: Class indices, (n,); real numbers, (n,), for a regression; 0 and 1, (n, C), for a multilabel task; the
            first character of an answer and the one after its last, (n, 2), for question answering; or None.
        outputs: Logits, (n, C), or the predicted numbers of a regression, (n, 1); or None.
        predictions: In the format of the labels, or None.
        correct: Whether each prediction is right, (n,); None for a regression, which has no right or wrong.
        counts: How many times each example counts, (n,); None means once.
        attributes: A table of n rows for describing slices; among the methods, only `rules` reads it.
        task: What the model was asked to predict.
        manifest: Where the record comes from.
    """

    ids: Shaped[np.ndarray, " n"]
    embeddings: Float[np.ndarray, "n d"]
    losses: Float[np.ndarray, " n"] | None = None
    labels: Num[np.ndarray, "n ..."] | None = None
    outputs: Float[np.ndarray, "n C"] | None = None
    predictions: Num[np.ndarray, "n ..."] | None = None
    correct: Shaped[np.ndarray, " n"] | None = None
    counts: Num[np.ndarray, " n"] | None = None
    attributes: pa.Table = field(default_factory=lambda: pa.table({}))
    task: Task | None = None
    manifest: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.embeddings)

    def __repr__(self) -> str:
        n, d = self.embeddings.shape
        kind = self.task.kind if self.task else "no task"
        return (
            f"Predictions({n} examples, {d}-d embeddings, {kind}, attributes: {self.attributes.column_names})"
        )

    @property
    def row_counts(self) -> Float[np.ndarray, " n"]:
        """(n,) how many times each example counts: `counts`, or ones."""
        return np.ones(len(self)) if self.counts is None else np.asarray(self.counts, dtype=np.float64)

    @property
    def accuracy(self) -> float | None:
        """The share of correct examples, weighted by `counts`; None if that is unknown."""
        return None if self.correct is None else float(np.average(self.correct, weights=self.counts))

    def classes(self) -> tuple[str, ...]:
        """Return the names of the task's classes; an empty tuple without a task."""
        return self.task.classes if self.task else ()

    def name_of(self, values: np.ndarray | None, row: int) -> str | None:
        """Return the label or prediction of a row in readable form, or None if there is none.

        This is the name of a class, the names of all classes of a multilabel row, a real number, or the positions of an
        answer in its text.

        Args:
            values: `labels` or `predictions` of this record.
            row: The row.
        """
        if values is None:
            return None
        if isinstance(self.task, QuestionAnswering):
            start, end = map(int, values[row])
            return f"characters {start}–{end}" if end > start else "no answer"
        if isinstance(self.task, Regression):
            return f"{values[row]:.6g}"
        classes = self.classes()
        if values.ndim == 2:
            return ", ".join(classes[c] for c in np.flatnonzero(values[row])) or "none"
        return classes[values[row]] if classes else str(values[row])

    @property
    def provenance(self) -> dict[str, Any]:
        """Return the manifest and these predictions' task, as slices record them."""
        return {**self.manifest, **({} if self.task is None else {"task": self.task.to_dict()})}

    @cached_property
    def example_hashes(self) -> UInt64[np.ndarray, " n"]:
        """(n,) a hash of each example's embedding and loss (or outputs), computed once because records may be large."""
        hashes = hash_rows(self.embeddings, seed=0)
        measured = self.losses[:, None] if self.losses is not None else self.outputs
        return hashes if measured is None else hashes + hash_rows(measured, seed=1)

    def take(self, rows: Sequence[int] | np.ndarray) -> Predictions:
        """Return the record of some rows, in the given order.

        It is kept in memory, except that large mapped embeddings are copied to a temporary file.

        Args:
            rows: Indices, or a mask (n,).
        """
        rows = np.asarray(rows)
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)

        def pick(array: np.ndarray | None) -> np.ndarray | None:
            return None if array is None else np.asarray(array[rows])

        return Predictions(
            ids=self.ids[rows],
            embeddings=take_rows(self.embeddings, rows),
            losses=pick(self.losses),
            labels=pick(self.labels),
            outputs=pick(self.outputs),
            predictions=pick(self.predictions),
            correct=pick(self.correct),
            counts=pick(self.counts),
            attributes=self.attributes.take(pa.array(rows))
            if self.attributes.column_names
            else self.attributes,
            task=self.task,
            manifest=self.manifest,
        )

    def between(self, start: int, stop: int) -> Predictions:
        """Return the record of the rows from `start` up to, but excluding, `stop`; memory-mapped arrays stay mapped."""
        names = ("ids", "embeddings", "losses", "labels", "outputs", "predictions", "correct", "counts")
        arrays: dict[str, Any] = {name: getattr(self, name) for name in names}
        parts = {name: array[start:stop] for name, array in arrays.items() if array is not None}
        return replace(self, **parts, attributes=self.attributes.slice(start, stop - start))

    @classmethod
    def from_arrays(
        cls,
        embeddings: Any,
        losses: Any = None,
        labels: Any = None,
        outputs: Any = None,
        predictions: Any = None,
        correct: Any = None,
        counts: Any = None,
        ids: Any = None,
        attributes: Any = None,
        task: Task | None = None,
        manifest: Mapping[str, Any] | None = None,
        outputs_are: str | None = None,
    ) -> Predictions:
        """Check arrays from any library, derive missing ones, and return the record.

        Losses follow from outputs and labels, predictions from outputs, correctness from labels and predictions.
        Arrays may be NumPy's, tensors, sparse matrices, lists, or columns of pandas, Polars and Arrow.

        Without `task`, fractions among labels or predictions mean a regression (squared loss), whose losses follow
        from labels and predictions too. Real-valued targets that all happen to be whole numbers look like class
        indices: give `task=Regression()` with them.

        Args:
            embeddings: The input of the model's head, (n, d).
            losses: The loss of each example, (n,).
            labels: Class indices, names, or real numbers, (n,); 0 and 1, (n, C), for several classes at once. Names
                become indices into the task's classes: in the order of an ordered categorical, or else sorted,
                with numbers sorted by value.
            outputs: Logits in the order of the classes, (n, C). One column, (n, 1) or (n,), is the logit of the second
                of two classes, or the predicted number of a regression.
            predictions: In any format that labels may have.
            correct: Whether the model was right, (n,).
            counts: How many times each example counts, (n,); positive.
            ids: Unique names, (n,); by default the row numbers.
            attributes: A mapping of columns, a frame (pandas, Polars) or an Arrow table, for describing slices.
            task: What the model was asked to predict, if the arrays do not determine it.
            manifest: Where the record comes from.
            outputs_are: "logits", or "probabilities", which become logits that give the same probabilities. Outputs
                that look like probabilities are refused unless one of the two is given.

        Raises:
            ValueError: There are no rows; lengths or shapes differ; values are NaN, infinite, masked or too large to
                be squared; counts are not positive; ids repeat; labels are missing, outside the classes, or not in the
                task's format. The error names the array and the row.
        """
        if task is not None and not isinstance(task, Task):
            raise TypeError(
                f"task={task!r} is not a task; give, for example, Classification((…)) with the class names"
            )
        embeddings = validation.rows("embeddings", embeddings)
        n = len(embeddings)
        ids = validation.identifiers(ids, n)
        validation.check_finite("embeddings", embeddings, ids)

        losses = None if losses is None else validation.column("losses", losses, ids)
        outputs = None if outputs is None else validation.columns("outputs", outputs, ids)
        labels, predictions, outputs, task = read_targets(
            labels, predictions, outputs, ids, task, outputs_are
        )
        correct = None if correct is None else validation.booleans(correct, ids)
        counts = None if counts is None else validation.counts(counts, ids)
        table = attribute_table(attributes, n)

        heads = outputs
        if heads is None and predictions is not None and isinstance(task, Regression):
            heads = predictions[:, None]  # a regression's outputs are its predictions
        derivable = predictions is None or (losses is None and labels is not None)
        if heads is not None and task is not None and derivable:
            import torch

            # a mapped file is read-only, but torch requires a writable array
            tensor = torch.from_numpy(np.require(heads, requirements=["C", "W"]))
            if predictions is None:
                predictions = task.predict(tensor).numpy()
            if losses is None and labels is not None:
                losses = task.losses(tensor, torch.from_numpy(labels)).numpy()
                given = "labels and predictions" if isinstance(task, Regression) else "outputs"
                validation.check_finite("losses", losses, ids, computed_from=given)
        has_both = labels is not None and predictions is not None
        if correct is None and has_both and not isinstance(task, Regression):
            same = labels == predictions
            correct = same if same.ndim == 1 else same.all(axis=1)
        warn_of_contradictions(task, labels, predictions, outputs, correct, losses)
        return cls(
            ids,
            embeddings,
            losses,
            labels,
            outputs,
            predictions,
            correct,
            counts,
            table,
            task,
            dict(manifest or {}),
        )

    @classmethod
    def load(cls, path: str | Path, outputs_are: str | None = None, task: Task | None = None) -> Predictions:
        """Open a store folder, memory-mapped, or a file.

        A file is `.npz`, `.parquet`, `.csv`, `.jsonl`, `.safetensors` with a table beside it, or a `.pkl` of inference
        results from the published Spotlight tool (`weakspot.predictions.spotlight_inference`). The manifest holds the
        path (`source`) and the task (`task`).

        Args:
            path: The folder or file.
            outputs_are: For a file, as in `from_arrays`; for a store or a published tool's file it is already known.
            task: The same.

        Raises:
            FileNotFoundError: There is no such folder or file, or a file of the folder is missing.
            ValueError: Something in a file is wrong or missing; the error names the file.
        """
        path = Path(path)
        if path.is_dir():
            from weakspot.predictions.store import read

            if outputs_are is not None:
                raise ValueError(
                    f"{path} is a store, whose outputs are logits: leave out outputs_are={outputs_are}"
                )
            if task is not None:
                raise ValueError(f"{path} is a store, whose task is known: leave out task={task.kind}")
            record = read(path)
        else:
            from weakspot.predictions.user_files import read_file

            record = read_file(path, outputs_are, task)
        fields = None if record.task is None else record.task.to_dict()
        options = {} if outputs_are is None else {"outputs_are": outputs_are}
        return replace(record, manifest={**record.manifest, "source": str(path), "task": fields, **options})

    def save(self, folder: str | Path) -> Path:
        """Write a store folder, with the manifest last to mark it as complete, and return its path.

        Raises:
            FileExistsError: The folder holds something else.
            OSError: The disk is full or not writable; the message says what to do.
        """
        from weakspot.predictions.store import write

        return write(self, Path(folder))
