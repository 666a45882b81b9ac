"""The audited set as a whole."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from weakspot.findings.examined import Judged
from weakspot.findings.portraits import Painter
from weakspot.findings.record import ClassRow, Whole
from weakspot.predictions import Predictions
from weakspot.predictions.attributes import left_out
from weakspot.tasks import Classification, Multilabel


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
    classes = _classes(predictions)
    name = None if category is None else _class_name(predictions, category)
    hidden = [(column, "restates the target") for column in painter.hidden]
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
        weak_values=tuple(painter.weak_values()),
        left_out=(*hidden, *left_out(painter.attributes)),
        counted=judged.counted,
    )


def _class_name(predictions: Predictions, category: str | int) -> str:
    classes = predictions.classes()
    return str(category) if category in classes else classes[int(category)]


def _classes(predictions: Predictions) -> tuple[ClassRow, ...]:
    """Per class how many have it and are predicted to, over the whole record."""
    p = predictions
    if p.labels is None or p.predictions is None or p.task is None or not p.task.by_accuracy:
        return ()
    if not isinstance(p.task, Classification | Multilabel):
        return ()
    c = np.ones(len(p)) if p.counts is None else p.counts.astype(np.float64)
    names = p.classes()
    if p.labels.ndim == 1:
        actual, said = (np.bincount(values, c, len(names)) for values in (p.labels, p.predictions))
        hit = np.bincount(p.labels, c * (p.labels == p.predictions), len(names))
    else:
        actual, said, hit = c @ p.labels, c @ p.predictions, c @ (p.labels * p.predictions)
    return tuple(
        ClassRow(
            name,
            float(actual[i]),
            float(said[i]),
            _ratio(hit[i], said[i]),
            _ratio(hit[i], actual[i]),
            _ratio(2 * hit[i], actual[i] + said[i]),
        )
        for i, name in enumerate(names)
    )


def _ratio(part: float, whole: Float[np.ndarray, ""] | float) -> float | None:
    return float(part / whole) if whole > 0 else None
