"""Findings as tables of plain values, without images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from weakspot.findings import Findings
from weakspot.findings.entries import Example, PlainValue
from weakspot.legible import LONGEST_TEXT, shortened
from weakspot.slices.statistics import ConfusionCell
from weakspot.tracking.classes import class_tables
from weakspot.tracking.scalars import finding_scalars, slice_scalars

Rows = tuple[list[str], list[list[Any]]]

_MEMBER_ROWS = 100_000  # of the table of weights; the artifact holds all
_CLASSES = 20  # in a chart, by weight; the table of confusions has all
_ATTRIBUTES = 100  # columns of the table of examples; the most distinctive ones come first


def findings_tables(findings: Findings) -> dict[str, Rows]:
    """Return every table by its name, as (columns, rows).

    Args:
        findings: The findings; nothing is computed here.

    Returns:
        `findings`, `slices`, `attributes`, `confusion`, `weights`, and if there are any, `words`, `clusters` (all
        nodes of the tree), `silhouette` (of every number of clusters) and `near_misses`.
    """
    found = {
        "findings": table_of_records(
            {
                "finding": f.number,
                "name": f.subject,
                "verdict": f.verdict,
                "sentence": f.sentence,
                **finding_scalars(f),
                "slices": ", ".join(map(str, f.parts)),
            }
            for f in findings.findings
        ),
        "slices": table_of_records(
            {
                "slice": one.number,
                "finding": one.finding,
                "verdict": one.evidence.verdict,
                "p_corrected": one.evidence.p_corrected,
                **({} if one.p_searched is None else {"p_searched": one.p_searched}),
                **slice_scalars(one, findings),
                **(_plain(vars(one.statistics.cluster)) if one.statistics.cluster else {}),
            }
            for one in findings.slices
        ),
        "attributes": (
            ["finding", "attribute", "value", "share_inside", "share_outside", "lift", "weight"],
            [
                [f.number, e.attribute, e.value, e.share_inside, e.share_outside, min(e.lift, 1e9), e.weight]
                for f in findings.findings
                for e in f.portrait.enrichment
            ],
        ),
        "confusion": (
            ["finding", "label", "prediction", "weight"],
            [
                [f.number, cell.label, cell.prediction, cell.weight]
                for f in findings.findings
                for cell in f.portrait.confusion
            ],
        ),
        "weights": _memberships(findings),
    }
    if any(f.portrait.words for f in findings.findings):
        found["words"] = (
            ["finding", "word", "share_inside", "share_outside", "contrast"],
            [
                [f.number, word.text, word.share_inside, word.share_outside, word.contrast]
                for f in findings.findings
                for word in f.portrait.words
            ],
        )
    if findings.clusters:
        found["clusters"] = table_of_records(
            _plain(vars(cluster)) | {"top_attributes": ", ".join(a.name for a in cluster.top_attributes)}
            for cluster in findings.clusters
        )
    if findings.cut_scores:
        found["silhouette"] = ["clusters", "silhouette"], [list(point) for point in findings.cut_scores]
    if findings.near_misses:
        found["near_misses"] = table_of_records(_plain(vars(miss)) for miss in findings.near_misses)
    return found | class_tables(findings)


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if isinstance(value, bool | int | float | str)}


def table_of_records(rows: Iterable[dict[str, Any]]) -> Rows:
    """Return records as a table; if a record lacks a column, the cell is None."""
    listed = list(rows)
    columns = list(dict.fromkeys(name for record in listed for name in record))
    return columns, [[record.get(name) for name in columns] for record in listed]


def _memberships(findings: Findings) -> Rows:
    table = findings.memberships.sort_by([("weight", "descending")]).slice(0, _MEMBER_ROWS)
    columns = ["group", "number", "id", "weight"]
    return columns, [list(row) for row in zip(*(table[name].to_pylist() for name in columns), strict=True)]


def example_rows_of_tables(findings: Findings) -> dict[str, list[int | None]]:
    """Return the row of the example that illustrates each row of a table, by the name of the table."""
    return {
        "findings": [next(iter(one.portrait.top), None) for one in findings.findings],
        "slices": [next(iter(one.portrait.top), None) for one in findings.slices],
        "clusters": [next(iter(one.rows), None) for one in findings.clusters],
    }


def confusion_square(cells: Sequence[ConfusionCell]) -> Rows:
    """Return a square of labels and predictions, as W&B's chart of confusions reads it.

    Args:
        cells: The weights by label and prediction, largest first.

    Returns:
        A row for every pair of the classes with the largest weights, at most 20; 0 if a pair has no weight.
    """
    weights = {(cell.label, cell.prediction): cell.weight for cell in cells}
    names = list(dict.fromkeys(name for pair in weights for name in pair))[:_CLASSES]
    square = [[label, guess, weights.get((label, guess), 0.0)] for label in names for guess in names]
    return ["Actual", "Predicted", "nPredictions"], square


def examples_table(findings: Findings) -> tuple[Rows, list[int]]:
    """Return the top examples of every finding and slice with their attributes.

    Args:
        findings: The findings; nothing is computed here.

    Returns:
        The table, without images, and the row of each example in the predictions.
    """
    names = _attribute_columns(findings)
    records, rows = [], []
    for group, parts in (("finding", findings.findings), ("slice", findings.slices)):
        for part in parts:
            for row, weight in zip(part.portrait.top, part.portrait.weights, strict=True):
                one = findings.example(row)
                record = {"group": group, "number": part.number, "weight": weight} | _outcome_of(one)
                values = {column: one.attributes.get(name) for name, column in names.items()}
                records.append(record | {column: _shown(value) for column, value in values.items()})
                rows.append(row)
    return table_of_records(records), rows


def _shown(value: PlainValue) -> PlainValue:
    return shortened(value, LONGEST_TEXT) if isinstance(value, str) else value


def _outcome_of(one: Example) -> dict[str, Any]:
    return {
        "id": one.id,
        "label": one.label,
        "prediction": one.prediction,
        "correct": None if one.wrong is None else not one.wrong,
        "loss": one.loss,
    }


_OWN_COLUMNS = {
    "group",
    "number",
    "weight",
    "example",
    "grad_cam",
    *_outcome_of(Example(0, "", None, None, None, None)),
}


def _attribute_columns(findings: Findings) -> dict[str, str]:
    """Return the column name of each attribute of the shown examples, with those enriched in findings first.

    A column has the name of its attribute, unless the table already has such a column.
    """
    enriched = [e.attribute for f in findings.findings for e in f.portrait.enrichment]
    held = dict.fromkeys(name for one in findings.examples for name in one.attributes)
    names = list(dict.fromkeys([*(name for name in enriched if name in held), *held]))[:_ATTRIBUTES]
    return {name: f"{name} (attribute)" if name in _OWN_COLUMNS else name for name in names}
