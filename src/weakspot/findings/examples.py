"""The examples that are shown, as a person reads them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from weakspot.findings.examined import Judged
from weakspot.findings.record import Example, Plain
from weakspot.predictions import Predictions
from weakspot.tasks import QuestionAnswering


def examples_of(rows: Sequence[int], predictions: Predictions, judged: Judged) -> tuple[Example, ...]:
    """What is known of some rows.

    Args:
        rows: Positions in the record, of audited examples.
        predictions: The record.
        judged: The audited examples; they say who is wrong, and at what loss.

    Returns:
        One example per row, in their order.
    """
    p, audit = predictions, judged.p
    table = p.attributes.take(pa.array(rows, pa.int64())).to_pylist() if p.attributes.column_names else []
    found = []
    for i, (row, at) in enumerate(zip(rows, judged.positions(rows), strict=True)):
        found.append(
            Example(
                row=row,
                id=str(p.ids[row]),
                label=p.name_of(p.labels, row),
                prediction=p.name_of(p.predictions, row),
                wrong=None
                if audit.correct is None or judged.unit_errors is not None
                else not bool(audit.correct[at]),
                loss=None if audit.losses is None else float(audit.losses[at]),
                attributes={name: _plain(value) for name, value in table[i].items()} if table else {},
                label_span=_span(p, p.labels, row),
                prediction_span=_span(p, p.predictions, row),
            )
        )
    return tuple(found)


def _span(p: Predictions, values: np.ndarray | None, row: int) -> tuple[int, int] | None:
    if values is None or not isinstance(p.task, QuestionAnswering):
        return None
    return int(values[row][0]), int(values[row][1])


def _plain(value: Any) -> Plain:
    """A value of a table as JSON holds it; NaN and infinity are missing, anything else is its text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)
