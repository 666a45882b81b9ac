"""The whole set class by class, and which classes come together, as tables of a logger."""

from __future__ import annotations

from typing import Any

from weakspot.findings import Findings

_PAIRS = 10_000  # of the table, those that differ most; the run's folder has more


def class_tables(findings: Findings) -> dict[str, tuple[list[str], list[list[Any]]]]:
    """(columns, rows) by the name of the table; none for tasks without classes."""
    whole = findings.whole
    found: dict[str, tuple[list[str], list[list[Any]]]] = {}
    if whole.classes:
        found["classes"] = (
            ["class", "examples", "predicted", "precision", "recall", "f1"],
            [
                [row.name, row.examples, row.predicted, row.precision, row.recall, row.f1]
                for row in whole.classes
            ],
        )
    if whole.pairs:
        most = sorted(whole.pairs, key=lambda pair: -abs(pair.predictions - pair.labels))[:_PAIRS]
        names = [row.name for row in whole.classes]
        found["co_occurrence"] = (
            ["class", "with", "labels", "predictions"],
            [[names[pair.first], names[pair.second], pair.labels, pair.predictions] for pair in most],
        )
    return found
