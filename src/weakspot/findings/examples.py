"""Describes the examples that are shown: labels, predictions and attributes as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from weakspot.findings.audited_examples import AuditedExamples
from weakspot.findings.entries import Example, PlainValue
from weakspot.predictions import Predictions
from weakspot.tasks import QuestionAnswering


def describe_examples(
    rows: Sequence[int], predictions: Predictions, audited: AuditedExamples
) -> tuple[Example, ...]:
    """Describe some examples.

    Args:
        rows: Their positions in the predictions; all of them must be audited.
        predictions: The predictions.
        audited: The audited examples, with their correctness and losses.

    Returns:
        One example per row, in their order.
    """
    p, record = predictions, audited.record
    table = p.attributes.take(pa.array(rows, pa.int64())).to_pylist() if p.attributes.column_names else []
    examples = []
    for i, (row, position) in enumerate(zip(rows, audited.positions(rows), strict=True)):
        examples.append(
            Example(
                row=row,
                id=str(p.ids[row]),
                label=p.name_of(p.labels, row),
                prediction=p.name_of(p.predictions, row),
                wrong=None
                if record.correct is None or audited.unit_errors is not None
                else not bool(record.correct[position]),
                loss=None if record.losses is None else float(record.losses[position]),
                attributes={name: _plain_value(value) for name, value in table[i].items()} if table else {},
                label_span=_span(p, p.labels, row),
                prediction_span=_span(p, p.predictions, row),
            )
        )
    return tuple(examples)


def _span(p: Predictions, values: np.ndarray | None, row: int) -> tuple[int, int] | None:
    """Return the first character of an answer and the one after the last; None for other tasks."""
    if values is None or not isinstance(p.task, QuestionAnswering):
        return None
    return int(values[row][0]), int(values[row][1])


def _plain_value(value: Any) -> PlainValue:
    """Return a value of a table as JSON holds it: NaN and infinity as null, any other type as its text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)
