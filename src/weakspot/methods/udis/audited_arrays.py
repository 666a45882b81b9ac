"""The examples that are audited: all, or those that a model assigned to one category."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from weakspot.predictions import Predictions
from weakspot.predictions.confidences import confidences
from weakspot.predictions.validation import check_counts
from weakspot.tasks import Classification, Multilabel, Regression

_ROWS = 8192


@dataclass(frozen=True, eq=False)
class AuditedArrays:
    """Holds the audited rows of a record as arrays (r, …); None for what the record lacks.

    Attributes:
        rows: (r,) their row numbers in the record.
        counts: (r,) how often each counts, in float64.
        correct: (r,) whether the label is the prediction, or has the category.
        losses: (r,) the losses; for a category of a multilabel task, the category's own.
        confidence: (r,) the probability that the model gives its prediction, or the category.
        labels: (r,) or (r, c), for tasks that predict classes.
        predictions: (r,) or (r, c), for tasks that predict classes.
        classes: The names of the classes.
        category: The column of the audited category; None where all examples are audited.
    """

    rows: Int[np.ndarray, " r"]
    counts: Float[np.ndarray, " r"]
    correct: Bool[np.ndarray, " r"]
    losses: Float[np.ndarray, " r"] | None
    confidence: Float[np.ndarray, " r"] | None
    labels: Num[np.ndarray, "r ..."] | None
    predictions: Num[np.ndarray, "r ..."] | None
    classes: tuple[str, ...]
    category: int | None

    @classmethod
    def of(cls, p: Predictions, category: str | int | None) -> AuditedArrays:
        """Take the audited rows of `p`.

        Args:
            p: The record.
            category: A class, by name or index; None audits all examples.

        Raises:
            ValueError: If the record cannot be audited; the message states what is missing.
        """
        column = None if category is None else category_index(p, category)
        assigned = np.ones(len(p), dtype=bool) if column is None else predicted_as(p, column)
        rows = np.flatnonzero(assigned)
        if len(rows) < 2:
            what = "there is one example" if column is None else f"{len(rows)} are predicted as {category!r}"
            raise ValueError(f"UDIS needs at least two examples to cluster; {what}")
        record = record_of_answers(p, category)

        def pick(values: np.ndarray | None) -> np.ndarray | None:
            return (
                None if values is None else np.asarray(values) if column is None else np.asarray(values[rows])
            )

        if _all_equal(p.embeddings, rows):
            raise ValueError(f"all {len(rows)} embeddings are equal: there are no clusters to distinguish")
        if p.counts is not None:
            check_counts(p.counts, p.ids)
        counts = p.row_counts[rows]
        if counts.min() < 1:
            raise ValueError(
                f"counts: row {int(rows[counts.argmin()])} is {counts.min():g}, but UDIS reads a count as "
                "that many copies of the example; scale the counts so that none is below 1"
            )
        by_class = isinstance(p.task, (Classification, Multilabel))
        return cls(
            rows=rows,
            counts=counts,
            correct=np.asarray(record.correct)[rows],
            losses=pick(record.losses),
            confidence=_confidence(p, pick(p.outputs), column),
            labels=pick(p.labels) if by_class else None,
            predictions=pick(p.predictions) if by_class else None,
            classes=p.classes(),
            category=column,
        )


def _all_equal(embeddings: Float[np.ndarray, "n d"], rows: Int[np.ndarray, " r"]) -> bool:
    """Return whether the rows hold the same values; rounded distances could not show it."""
    first = embeddings[rows[0]]
    return all((embeddings[some] == first).all() for some in np.array_split(rows, len(rows) // _ROWS + 1))


def category_index(p: Predictions, category: str | int) -> int:
    """Return the index of the class given by a name or an index.

    Raises:
        ValueError: If there is no such class, or `p` holds no predictions by class.
    """
    if p.predictions is None or not isinstance(p.task, (Classification, Multilabel)):
        raise ValueError(f"category={category!r} needs predictions by class; these hold none")
    return class_index(category, p.classes())


def class_index(category: str | int, classes: Sequence[str]) -> int:
    """Return the index of the class given by a name or an index.

    Raises:
        ValueError: If there is no such class.
    """
    if category in classes:
        return classes.index(str(category))
    if isinstance(category, (int, np.integer)) and 0 <= category < len(classes):
        return int(category)
    names = ", ".join(classes[:20]) + (", …" if len(classes) > 20 else "")
    raise ValueError(f"category={category!r} is not one of the classes: {names}")


def predicted_as(p: Predictions, column: int) -> Bool[np.ndarray, " n"]:
    """Return which examples the model assigned to a class."""
    assert p.predictions is not None
    return _has(p.predictions, column)


def record_of_answers(p: Predictions, category: str | int | None) -> Predictions:
    """Return the record for an audit of one class, given by name or index, or of all examples if it is None.

    Raises:
        ValueError: If it does not say which examples are right.
    """
    column = None if category is None else category_index(p, category)
    record = record_for_category(p, column)
    if record.correct is None and isinstance(p.task, Regression):
        raise ValueError(
            "UDIS needs to know which examples are right, which a regression does not define; give correct, "
            "for example abs(predictions - labels) < tolerance, or choose method=spotlight"
        )
    if record.correct is None:
        raise ValueError(
            "UDIS needs to know which examples are right; give correct, or labels and predictions"
            if column is None
            else f"auditing category {category!r} needs labels, and these predictions hold none"
        )
    return record


def record_for_category(p: Predictions, column: int | None) -> Predictions:
    """Return the record for an audit of one class, in which labels and predictions are 1 if an example has it, else 0.

    For a multilabel task the loss is the binary cross-entropy of the class's own output, None if the record holds no
    outputs; otherwise it is the record's. Without a class, the record is returned unchanged.
    """
    if column is None:
        return p
    assert p.predictions is not None  # checked by `category_index`
    name = p.classes()[column]
    guesses = predicted_as(p, column)
    labels = None if p.labels is None else _has(p.labels, column)
    return replace(
        p,
        labels=None if labels is None else labels.astype(np.int64),
        predictions=guesses.astype(np.int64),
        correct=None if labels is None else labels == guesses,
        losses=_losses(p, labels, column) if isinstance(p.task, Multilabel) else p.losses,
        outputs=None,
        task=Classification((f"not {name}", name)),
    )


def _losses(p: Predictions, labels: np.ndarray | None, column: int) -> np.ndarray | None:
    """Return the binary cross-entropy of one class, log(1 + exp(∓z)), computed without overflow."""
    if p.outputs is None or labels is None:
        return None
    z = np.where(labels, -1.0, 1.0) * np.asarray(p.outputs[:, column], dtype=np.float64)
    losses: np.ndarray = np.logaddexp(0, z)
    return losses


def _has(values: np.ndarray, column: int) -> Bool[np.ndarray, " n"]:
    found: np.ndarray = values[:, column] == 1 if values.ndim == 2 else values == column
    return found


def _confidence(p: Predictions, outputs: np.ndarray | None, column: int | None) -> np.ndarray | None:
    if outputs is None or p.task is None:
        return None
    if column is None:
        return confidences(p.task, outputs)
    import torch

    logits = torch.tensor(outputs).float()  # a copy: torch does not support read-only, memory-mapped arrays
    probabilities = logits.sigmoid() if isinstance(p.task, Multilabel) else logits.softmax(dim=1)
    return probabilities[:, column].numpy()
