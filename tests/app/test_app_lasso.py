"""The lasso on a run's map in the explorer: its members, and the slice of them, tested on the held-out set."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from urllib.parse import urlencode

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.path import Path as Polygon

from explorer import asked, follow, opened, read, record_of, serving
from map_page import drag, in_page, placed, to_map
from pet_runs import write_run
from report_pages import needs_chromium
from weakspot import Findings, Scan
from weakspot.app.lasso import MAX_CORNERS, Lasso
from weakspot.app.loaded_runs import LoadedRun, LoadedRuns
from weakspot.app.run_index import RunIndex


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scanned") / "outputs"
    write_run(folder, "net", [0], Scan(n_slices=1))
    return folder


@pytest.fixture(scope="module")
def record(outputs):
    return record_of(outputs, "scan")


@pytest.fixture(scope="module")
def server(outputs):
    with serving(outputs) as server:
        yield server


def around(at, margin=1500):
    """A rectangular lasso around some points."""
    (left, low), (right, high) = at.min(axis=0) - margin, at.max(axis=0) + margin
    return Lasso(tuple((int(x), int(y)) for x, y in ((left, low), (right, low), (right, high), (left, high))))


def in_fog(record):
    return np.array(record.attributes["weather"].to_pylist()) == "fog"


def ids(server, record, **query):
    query = urlencode({name: str(value) for name, value in query.items()})
    text = asked(server, f"/run/{record.run.digest}/ids.csv?{query}")[2]
    return {row["id"] for row in csv.DictReader(io.StringIO(text))}


def test_a_lasso_contains_the_points_of_its_polygon():
    rng = np.random.default_rng(0)
    at = rng.uniform(0, 1000, (5000, 2))
    turns = np.sort(rng.uniform(0, 2 * np.pi, 60))
    far = rng.uniform(100, 480, 60)
    corners = np.column_stack([500 + far * np.cos(turns), 500 + far * np.sin(turns)]).astype(int)
    lasso = Lasso(tuple((int(x), int(y)) for x, y in corners))
    expected = Polygon(corners).contains_points(at)
    assert 500 < expected.sum() < 4500
    assert np.array_equal(lasso.contains(at), expected)
    assert Lasso.parse(str(lasso)) == lasso
    at[::2] = np.nan
    assert np.array_equal(lasso.contains(at), expected & (np.arange(5000) % 2 == 1))


@pytest.mark.parametrize(
    "text",
    [
        "1,2;3,4",
        "1,2;3,4;5",
        "1,2;3,4;5,6;",
        "1,2;3,4;5,nan",
        "1,2;3,4;5,99999999",
        "<b>;<i>;<u>",
        ";".join(["1,2"] * (MAX_CORNERS + 1)),
    ],
)
def test_invalid_lassos_are_refused(server, record, text):
    status, _, page = asked(server, f"/run/{record.run.digest}?{urlencode({'lasso': text})}")
    assert status == 400
    assert "is not a part of a map" in read(page)
    assert "<b>" not in page


def test_members_of_a_lasso_are_listed_and_filtered(server, record):
    p, lasso = record.predictions, around(record.map_positions[in_fog(record)])
    inside = Polygon(lasso.corners).contains_points(record.map_positions)
    assert in_fog(record)[inside].mean() > 0.5
    assert ids(server, record, lasso=lasso) == set(p.ids[inside & record.searched])
    assert ids(server, record, lasso=lasso, rows="all") == set(p.ids[inside])
    cats = np.array([record.label(row) == "cat" for row in range(len(p))])
    assert ids(server, record, lasso=lasso, rows="all", label="cat") == set(p.ids[inside & cats])


def test_held_out_examples_are_drawn_only_on_request(server, record):
    page = asked(server, f"/run/{record.run.digest}?map=shown")[2]
    assert set(in_page(page)["ids"]) == set(record.predictions.ids[record.searched])
    assert "Those held out are not" in read(page)
    page = asked(server, f"/run/{record.run.digest}?map=shown&rows=all")[2]
    assert set(in_page(page)["ids"]) == set(record.predictions.ids)
    assert 'id="points"' not in asked(server, f"/run/{record.run.digest}")[2]


def test_a_map_of_other_examples_is_ignored(record):
    table = record.findings.map
    rows = (-np.arange(600), np.arange(600) + 1, np.zeros(600, dtype=int))
    others = [table.set_column(0, "row", pa.array(one)) for one in rows]
    others.append(table.set_column(1, "id", pa.array([f"x{i}" for i in range(600)])))
    for changed in (*others, table.slice(0, 0)):
        found = LoadedRun(
            record.run, record.slices, record.predictions, replace(record.findings, map=changed)
        )
        assert found.map_positions is None
        assert found.points("searched") is None
    without = LoadedRun(record.run, record.slices, record.predictions, None)
    assert without.map_positions is None
    part = LoadedRun(
        record.run, record.slices, record.predictions, replace(record.findings, map=table.slice(0, 50))
    )
    assert np.isnan(part.map_positions[50:]).all()
    assert np.array_equal(part.map_positions[:50], record.map_positions[:50])


@needs_chromium
@pytest.mark.slow
def test_a_lasso_becomes_a_slice_that_is_tested_on_the_held_out_set(server, outputs, record):
    with opened(server, viewport={"width": 1200, "height": 900}) as tab:
        tab.goto(f"http://localhost:{server.port}/run/{record.run.digest}")
        follow(tab, tab.get_by_role("link", name="Choose on the map"))
        to_map(tab)
        tab.locator("#map [data-tool=lasso]").click()
        to_map(tab)
        drawn = in_page(tab.content())
        at = placed(tab, drawn["at"].astype(float))
        fog = at[np.isin(drawn["ids"], record.predictions.ids[in_fog(record)])]
        middle, wide = fog.mean(axis=0), 8 + 3 * fog.std(axis=0)
        turns = np.linspace(0, 2 * np.pi, 40)
        drag(tab, [tuple(middle + wide * (np.cos(t), np.sin(t))) for t in turns])
        few = tab.evaluate("addressCorners(Array.from({ length: 1000 }, (_, i) => [i / 3, 2 * i]))")
        assert len(few) <= MAX_CORNERS
        assert all(isinstance(number, int) for corner in few for number in corner)
        counted = int(tab.locator(".map-summary dd").first.inner_text())
        follow(tab, tab.get_by_role("button", name="List them, and test them"))
        assert f"{counted} examples" in tab.locator("#found").inner_text()
        assert tab.get_by_label("Conditions").inner_text().startswith("inside a lasso on the map")
        tab.locator(".map-summary h3").wait_for()  # drawn again
        assert int(tab.locator(".map-summary dd").first.inner_text()) == counted
        tab.locator("select[name=label]").select_option("cat")
        follow(tab, tab.get_by_role("button", name="Show", exact=True))
        assert "label is cat, inside a lasso on the map" in tab.locator("form .note").first.inner_text()
        follow(tab, tab.get_by_role("button", name="Make it a slice, and test it"))
        assert "net" in tab.locator("h1").inner_text()
    made = next(run for run in RunIndex([outputs]).all() if run.method == "selection")
    assert Findings.load(made.folder).slices[0].evidence.verdict == "confirmed"
    again = LoadedRuns(RunIndex([outputs])).load(made)
    lasso = Lasso.parse(again.slices.provenance["settings"]["lasso"])
    inside = lasso.contains(record.map_positions) & np.array(
        [record.label(row) == "cat" for row in range(len(record))]
    )
    assert np.array_equal(again.slices.weights[0] > 0, inside)
    assert (inside & ~record.searched).sum() > 20
