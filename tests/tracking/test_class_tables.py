"""The tables of classes sent to a logger have the same numbers as the findings."""

from __future__ import annotations

from predictions_of_classes import NAMES, found_in, several_labels
from weakspot.tracking.classes import class_tables


def test_the_tables_agree_with_the_findings():
    findings = found_in(several_labels())
    tables = class_tables(findings)
    columns, rows = tables["classes"]
    for row, said in zip(rows, findings.whole.classes, strict=True):
        told = dict(zip(columns, row, strict=True))
        assert told.pop("class") == said.name
        assert told == {name: getattr(said, name) for name in told}
    columns, rows = tables["co_occurrence"]
    assert columns == ["class", "with", "labels", "predictions"]
    said = {
        (NAMES[pair.first], NAMES[pair.second]): (pair.labels, pair.predictions)
        for pair in findings.whole.pairs
    }
    assert {(one, other): tuple(numbers) for one, other, *numbers in rows} == said
    differences = [abs(labels - predictions) for _, _, labels, predictions in rows]
    assert differences == sorted(differences, reverse=True)
