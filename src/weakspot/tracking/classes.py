"""Makes tables for a logger: how the model does on each class, and which classes occur together."""

from __future__ import annotations

from typing import Any

from weakspot.findings import Findings
from weakspot.findings.classes import CLASS_COLUMNS, class_rows

_PAIRS = 10_000  # rows of the table, the pairs that differ most; the run's folder has more


def class_tables(findings: Findings) -> dict[str, tuple[list[str], list[list[Any]]]]:
    """Return (columns, rows) of each table by its name; no tables for tasks without classes."""
    whole = findings.whole
    tables: dict[str, tuple[list[str], list[list[Any]]]] = {}
    if whole.classes:
        tables["classes"] = list(CLASS_COLUMNS), class_rows(whole)
    if whole.pairs:
        pairs = sorted(whole.pairs, key=lambda pair: -abs(pair.predictions - pair.labels))[:_PAIRS]
        names = [row.name for row in whole.classes]
        tables["co_occurrence"] = (
            ["class", "with", "labels", "predictions"],
            [[names[pair.first], names[pair.second], pair.labels, pair.predictions] for pair in pairs],
        )
    return tables
