"""What the report draws of classes as CSV files, which hold all of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from weakspot.findings import Findings
from weakspot.findings.record import AuditedSet

CLASSES = "classes.csv"
CO_OCCURRENCE = "co_occurrence.csv"


def sheets(findings: Findings) -> dict[str, str]:
    """CSV texts by the name of their file; none for tasks without classes."""
    whole = findings.whole
    found = {}
    if whole.classes:
        head = ["class", "examples", "predicted", "precision", "recall", "f1"]
        rows = [
            [row.name, row.examples, row.predicted, row.precision, row.recall, row.f1]
            for row in whole.classes
        ]
        found[CLASSES] = _sheet(head, rows)
    if whole.pairs:
        head = [
            "class",
            "with",
            "labels",
            "predictions",
            "difference",
            "share_of_labels",
            "share_of_predictions",
        ]
        found[CO_OCCURRENCE] = _sheet(head, _pairs(whole))
    return found


def _pairs(whole: AuditedSet) -> Iterable[Sequence[object]]:
    """Each pair twice, so that a class stands with all that come with it: those that differ most first."""
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


def _sheet(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(head)
    writer.writerows([_plain(value) if isinstance(value, float) else value for value in row] for row in rows)
    return text.getvalue()


def _plain(value: float) -> str:
    """A count to its last digit, however large; anything else to twelve."""
    return str(int(value)) if value.is_integer() else f"{value:.12g}"
