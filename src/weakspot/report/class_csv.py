"""Writes CSV files of all classes, and of the pairs that occur together; the report shows only some of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from weakspot.delimited import csv_text
from weakspot.findings import Findings
from weakspot.findings.classes import CLASS_COLUMNS, class_rows
from weakspot.findings.entries import AuditedSet

CLASSES = "classes.csv"
CO_OCCURRENCE = "co_occurrence.csv"


def class_csv_files(findings: Findings) -> dict[str, str]:
    """Return the CSV texts by file name; none for tasks without classes."""
    whole = findings.whole
    texts = {}
    if whole.classes:
        texts[CLASSES] = _table_text(CLASS_COLUMNS, class_rows(whole))
    if whole.pairs:
        header = [
            "class",
            "with",
            "labels",
            "predictions",
            "difference",
            "share_of_labels",
            "share_of_predictions",
        ]
        texts[CO_OCCURRENCE] = _table_text(header, _pairs(whole))
    return texts


def _pairs(whole: AuditedSet) -> Iterable[Sequence[object]]:
    """Yield each pair twice, so that each class is listed with all others; pairs that differ most come first."""
    both = [
        (*ends, pair)
        for pair in whole.pairs
        for ends in ((pair.first, pair.second), (pair.second, pair.first))
    ]
    for one, other, pair in sorted(both, key=lambda row: (row[0], -abs(row[2].predictions - row[2].labels))):
        row = whole.classes[one]
        yield (
            row.name,
            whole.classes[other].name,
            pair.labels,
            pair.predictions,
            pair.predictions - pair.labels,
            pair.labels / row.examples if row.examples else None,
            pair.predictions / row.predicted if row.predicted else None,
        )


def _table_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    return csv_text(
        header, ([_plain(value) if isinstance(value, float) else value for value in row] for row in rows)
    )


def _plain(value: float) -> str:
    """Return a whole number with all its digits, and any other with twelve significant ones."""
    return str(int(value)) if value.is_integer() else f"{value:.12g}"
