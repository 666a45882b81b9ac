"""The audited set as a whole."""

from __future__ import annotations

import numpy as np

from weakspot.findings.classes import class_rows, pairs
from weakspot.findings.examined import Judged
from weakspot.findings.portraits import Painter
from weakspot.findings.record import Whole
from weakspot.predictions import Predictions
from weakspot.predictions.attributes import omitted_columns

RESTATES = "restates the target"
"""Why an attribute is left out that says what the target says."""


def describe_whole(
    judged: Judged, predictions: Predictions, category: str | int | None, painter: Painter
) -> Whole:
    """Accuracy, loss and tables of all audited examples.

    Args:
        judged: The audited examples.
        predictions: The whole record, of which a category's F1 is taken.
        category: The audited category, by name or number.
        painter: Knows the attributes that describe something.

    Returns:
        The whole.
    """
    p, c = judged.p, judged.counts
    stated = judged.unit_errors is None
    classes = class_rows(predictions)
    together, pairs_left_out = pairs(predictions)
    name = None if category is None else _class_name(predictions, category)
    hidden = [(column, RESTATES) for column in painter.hidden]
    return Whole(
        n=len(p),
        examples=float(c.sum()),
        record=len(predictions),
        embedding_size=p.embeddings.shape[1],
        errors=None if p.correct is None or not stated else float(c @ ~np.asarray(p.correct, dtype=bool)),
        accuracy=None if p.correct is None or not stated else float(c @ p.correct / c.sum()),
        loss=None if p.losses is None else float(np.average(p.losses, weights=c)),
        error=None
        if judged.unit_errors is None or p.task is None
        else float(p.task.aggregate(float(np.average(judged.unit_errors, weights=c)))),
        measure="accuracy" if stated or p.task is None else p.task.measure,
        category=name,
        category_f1=next((row.f1 for row in classes if row.name == name), None),
        classes=classes,
        pairs=together,
        pairs_left_out=pairs_left_out,
        weak_values=tuple(painter.weak_values()),
        left_out=(*hidden, *omitted_columns(painter.attributes)),
        counted=judged.counted,
    )


def _class_name(predictions: Predictions, category: str | int) -> str:
    classes = predictions.classes()
    return str(category) if category in classes else classes[int(category)]
