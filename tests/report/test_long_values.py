"""Attribute values of a hundred thousand characters: shortened when shown, still distinguished, and whole in files."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from explorer import asked, serving
from weakspot import Findings, Predictions, Scan
from weakspot.app.run_index import RunIndex
from weakspot.findings.mended_model import MendedModelComparison
from weakspot.legible import LONGEST_TEXT, LONGEST_VALUE, shortened
from weakspot.pipeline.discover import discover
from weakspot.pipeline.group_metrics import groups_of
from weakspot.predictions.attributes import categorise
from weakspot.report import render
from weakspot.tasks import Classification
from weakspot.tracking.console import findings_summary
from weakspot.tracking.tables import examples_table, findings_tables

START = "lorem ipsum " * 8000
PLACES = [START + place for place in ("fog", "snow", "sun", "rain")]  # they differ only at their ends


def predictions(n: int = 600) -> Predictions:
    rng = np.random.default_rng(0)
    place, labels = rng.integers(0, 4, n), rng.integers(0, 2, n)
    right = rng.random(n) < np.where(place == 0, 0.1, 0.97)
    return Predictions.from_arrays(
        rng.normal(size=(n, 4)) + 6 * np.eye(4)[place],
        labels=labels,
        predictions=np.where(right, labels, 1 - labels),
        losses=np.where(right, 0.1, 2.0) + rng.exponential(0.1, n),
        attributes=pa.table(
            {"place": [PLACES[i] for i in place], "city": [f"in {PLACES[i]}" for i in place]}
        ),
        task=Classification(("cat", "dog")),
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long")
    predictions().save(folder / "predictions")
    p = Predictions.load(folder / "predictions")
    return p, discover(Scan(n_slices=2), p, folder / "run"), folder


def longest(page: str) -> int:
    return max(len(found) for found in re.findall("(?:lorem ipsum ?)+", page))


def test_pages_tables_and_the_console_show_only_the_start(run):
    _, findings, folder = run
    page = render(findings)
    assert len(page) < 500_000
    assert longest(page) <= LONGEST_VALUE
    console = Console(width=10_000)
    with console.capture() as shown:
        console.print(findings_summary(findings))
    assert longest(shown.get()) <= LONGEST_VALUE
    tables = [*findings_tables(findings).values(), examples_table(findings)[0]]
    cells = [cell for _, rows in tables for row in rows for cell in row if isinstance(cell, str)]
    assert LONGEST_VALUE < max(map(len, cells)) <= LONGEST_TEXT + 20
    with serving(folder) as server:
        (listed,) = RunIndex([folder]).all()
        for path in ("?rows=all", "/example/7"):
            status, _, page = asked(server, f"/run/{listed.digest}{path}")
            assert status == 200
            assert len(page) < 100_000


def test_files_contain_the_whole_values(run):
    _, findings, folder = run
    loaded = Findings.load(folder / "run")
    assert {example.attributes["place"] for example in loaded.examples} <= set(PLACES)
    assert loaded.equals(findings)


def test_values_with_the_same_start_are_distinguished(run):
    p, findings, _ = run
    (finding,) = findings.findings
    assert finding.name == f"place = {shortened(PLACES[0])}"
    place = next(column for column in categorise(p.attributes) if column.name == "place")
    assert len(set(place.values)) == 4
    for code in range(4):
        assert np.array_equal(place.value(code).matches(p.attributes), place.codes == code)
    assert sorted(groups_of(p.attributes)["place"].values) == sorted(map(shortened, PLACES))
    changes = MendedModelComparison.of(p, p, {}, "here").changes
    assert {one.before.value for one in changes if one.name == "place"} == {shortened(PLACES[0])}


def test_a_short_text_stays_as_it_is():
    assert shortened("x" * LONGEST_VALUE) == "x" * LONGEST_VALUE
    assert len(shortened("x" * (LONGEST_VALUE + 1))) == LONGEST_VALUE + 12
    assert shortened("\udcff" * 300).startswith("\udcff")
