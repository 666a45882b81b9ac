"""The Predictions record: arrays of equal length, checked once, on the way in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Num, Shaped

from weakspot.predictions import validation
from weakspot.predictions.scratch import rows_of
from weakspot.predictions.tables import attribute_table
from weakspot.predictions.targets import read_targets
from weakspot.tasks import QuestionAnswering, Regression, Task


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model said of every example.

    Build one with `from_arrays` (anyone's arrays) or `load` (a store folder or a file); the constructor
    itself trusts what it is given. Arrays may be memory-mapped: treat them as read-only.

    ids          (n,)    strings, unique
    embeddings   (n, d)  floats: what the model's head receives
    losses       (n,)    or None
    labels       (n,)    class indices, or real numbers for a regression, or (n, C) in {0, 1} for a multilabel
                         task, or the first character of an answer and the one after its last, (n, 2), for
                         question answering; or None
    outputs      (n, C)  logits, or the predicted numbers, (n, 1), of a regression; or None
    predictions  as labels, or None
    correct      (n,)    bool, or None: a regression is neither right nor wrong
    counts       (n,)    how many times each example stands for itself; ones by default
    attributes   table of n rows: metadata that a slice is described with, never an input of a method
    task, manifest       what was asked of the model; where the record comes from
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
    def accuracy(self) -> float | None:
        """Share of correct examples, each counted as often as `counts` says; None where that is unknown."""
        return None if self.correct is None else float(np.average(self.correct, weights=self.counts))

    def classes(self) -> tuple[str, ...]:
        return self.task.classes if self.task else ()

    def name_of(self, values: np.ndarray | None, row: int) -> str | None:
        """The label or prediction of a row as a person reads it: a class or, multilabel, its classes by name, a
        real number, the span of an answer by its place in the text.
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

    def take(self, rows: Sequence[int] | np.ndarray) -> Predictions:
        """The record of some rows, in the order given; in memory, but for large embeddings that are mapped."""
        rows = np.asarray(rows)
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)

        def pick(array: np.ndarray | None) -> np.ndarray | None:
            return None if array is None else np.asarray(array[rows])

        return Predictions(
            ids=self.ids[rows],
            embeddings=rows_of(self.embeddings, rows),
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
        """The record of the rows from `start` to before `stop`; arrays that are memory-mapped stay so."""
        names = ("ids", "embeddings", "losses", "labels", "outputs", "predictions", "correct", "counts")
        arrays: dict[str, Any] = {name: getattr(self, name) for name in names}
        some = {name: array[start:stop] for name, array in arrays.items() if array is not None}
        return replace(self, **some, attributes=self.attributes.slice(start, stop - start))

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
        """Check anyone's arrays and derive what they leave out.

        Losses follow from outputs and labels, predictions from outputs, correctness from labels and predictions.
        Arrays may be NumPy's, tensors, sparse matrices, lists, or columns of pandas, Polars and Arrow.

        Without `task`, fractions among labels or predictions mean a regression (squared loss), whose losses follow
        from labels and predictions too. Real-valued targets that all happen to be whole numbers look like class
        indices: give `task=Regression()` with them.

        Args:
            embeddings: (n, d), what the model's head receives.
            losses: (n,), one for each example.
            labels: (n,) class indices, names, or real numbers; (n, C) in {0, 1} for several classes at once. Names
                become indices into the task's classes: in the order of an ordered categorical, or else sorted,
                numbers by value.
            outputs: (n, C) logits in the order of the classes. One column, (n, 1) or (n,), is the logit of the second
                of two classes, or the predicted number of a regression.
            predictions: As labels.
            correct: (n,) whether the model was right.
            counts: (n,) how many times each example stands for itself; positive.
            ids: (n,) unique names; by default the row numbers.
            attributes: A mapping of columns, a frame (pandas, Polars) or an Arrow table: what slices are described
                with.
            task: What the model was asked, where the arrays do not tell.
            manifest: Where the record comes from.
            outputs_are: "logits", or "probabilities", which become logits of the same probabilities. Outputs that look
                like probabilities are refused until one of the two is said.

        Raises:
            ValueError: Naming the array and the row, for no rows, lengths or shapes that differ, NaN or infinite
                values, masked ones, counts that are not positive, ids that repeat, labels that are missing, outside
                the classes, or of another form than the task's.
        """
        x = validation.rows("embeddings", embeddings)
        n = len(x)
        names = validation.identifiers(ids, n)
        validation.check_finite("embeddings", x, names)

        y = None if losses is None else validation.column("losses", losses, names)
        z = None if outputs is None else validation.columns("outputs", outputs, names)
        labels, predictions, z, task = read_targets(labels, predictions, z, names, task, outputs_are)
        right = None if correct is None else validation.booleans(correct, names)
        multiplicity = None if counts is None else validation.counts(counts, names)
        table = attribute_table(attributes, n)

        heads = z
        if heads is None and predictions is not None and isinstance(task, Regression):
            heads = predictions[:, None]  # a regression's outputs are its predictions
        lacking = predictions is None or (y is None and labels is not None)
        if heads is not None and task is not None and lacking:
            import torch

            tensor = torch.from_numpy(
                np.require(heads, requirements=["C", "W"])
            )  # a mapped file is read-only
            if predictions is None:
                predictions = task.predict(tensor).numpy()
            if y is None and labels is not None:
                y = task.losses(tensor, torch.from_numpy(labels)).numpy()
        if (
            right is None
            and labels is not None
            and predictions is not None
            and not isinstance(task, Regression)
        ):
            same = labels == predictions
            right = same if same.ndim == 1 else same.all(axis=1)
        return cls(
            names, x, y, labels, z, predictions, right, multiplicity, table, task, dict(manifest or {})
        )

    @classmethod
    def load(cls, path: str | Path, outputs_are: str | None = None) -> Predictions:
        """Open a store folder (memory-mapped) or a file: `.npz`, `.parquet`, `.safetensors` with a `.csv`, or a
        `.pkl` of inference results from the published Spotlight tool (`weakspot.predictions.spotlight_inference`).

        The manifest says where it was (`source`), and what was asked of the model (`task`).

        Args:
            path: The folder or file.
            outputs_are: Of a file, as for `from_arrays`; those of a store and of the published tool are known.

        Raises:
            FileNotFoundError, ValueError: Naming the file and what is missing or wrong in it.
        """
        path = Path(path)
        if path.is_dir():
            from weakspot.predictions.store import read

            if outputs_are is not None:
                raise ValueError(
                    f"{path} is a store, whose outputs are logits: leave out outputs_are={outputs_are}"
                )
            found = read(path)
        else:
            from weakspot.predictions.files import read_file

            found = read_file(path, outputs_are)
        asked = None if found.task is None else found.task.to_dict()
        said = {} if outputs_are is None else {"outputs_are": outputs_are}
        return replace(found, manifest={**found.manifest, "source": str(path), "task": asked, **said})

    def save(self, folder: str | Path) -> Path:
        """Write a store folder; the manifest comes last, so a folder without one is no record."""
        from weakspot.predictions.store import write

        return write(self, Path(folder))
