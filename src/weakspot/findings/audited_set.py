"""Computes accuracy, loss and the tables of classes over the whole audited set."""

from __future__ import annotations

import numpy as np

from weakspot.findings.audited_examples import AuditedExamples
from weakspot.findings.classes import class_metrics, class_pairs
from weakspot.findings.entries import AuditedSet
from weakspot.findings.group_descriptions import GroupDescriber
from weakspot.predictions import Predictions
from weakspot.predictions.attributes import omitted_columns

RESTATING = "restates the target"
"""The reason given for leaving out an attribute that says the same as the target."""


def summarise_audited_set(
    audited: AuditedExamples,
    predictions: Predictions,
    category: str | int | None,
    describer: GroupDescriber,
) -> AuditedSet:
    """Summarise the audited examples as a whole.

    Args:
        audited: The audited examples.
        predictions: The whole record; classes and a category's F1 are measured over it.
        category: The audited category, by name or number.
        describer: Knows which attributes describe something.

    Returns:
        Accuracy, loss and tables of all audited examples.
    """
    record, counts = audited.record, audited.counts
    by_accuracy = audited.unit_errors is None
    classes = class_metrics(predictions)
    pairs, pairs_left_out = class_pairs(predictions)
    name = None if category is None else _class_name(predictions, category)
    restating = [(column, RESTATING) for column in describer.restating]
    errors = accuracy = error = None
    if record.correct is not None and by_accuracy:
        errors = float(counts @ ~np.asarray(record.correct, dtype=bool))
        accuracy = float(counts @ record.correct / counts.sum())
    if audited.unit_errors is not None and record.task is not None:
        error = float(record.task.aggregate(float(np.average(audited.unit_errors, weights=counts))))
    return AuditedSet(
        n=len(record),
        examples=float(counts.sum()),
        record=len(predictions),
        embedding_size=record.embeddings.shape[1],
        errors=errors,
        accuracy=accuracy,
        loss=None if record.losses is None else float(np.average(record.losses, weights=counts)),
        error=error,
        measure="accuracy" if by_accuracy or record.task is None else record.task.measure,
        category=name,
        category_f1=next((row.f1 for row in classes if row.name == name), None),
        classes=classes,
        pairs=pairs,
        pairs_left_out=pairs_left_out,
        weak_values=tuple(describer.weak_values()),
        values_of_large_error=tuple(describer.values_of_large_error()),
        left_out=(*restating, *omitted_columns(describer.attributes)),
        counted=audited.counted,
    )


def _class_name(predictions: Predictions, category: str | int) -> str:
    classes = predictions.classes()
    return str(category) if category in classes else classes[int(category)]
