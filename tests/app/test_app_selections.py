"""Examples ticked in the explorer become a slice of similar examples, tested on the held-out set."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlencode

import numpy as np
import pytest

from explorer import asked, follow, opened, read, record_of, serving
from pet_runs import write_run
from report_pages import needs_chromium
from weakspot import Findings, Predictions, Scan
from weakspot.app.loaded_runs import LoadedRun, LoadedRuns
from weakspot.app.run_index import RunIndex
from weakspot.app.selections import SelectionTest, save_selection, similarity_weights
from weakspot.findings import Media
from weakspot.pipeline.discover import discover


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scanned") / "outputs"
    write_run(folder, "net", [0], Scan(n_slices=1))
    return folder


@pytest.fixture(scope="module")
def record(outputs):
    return record_of(outputs, "scan")


def where(record, weather, label=None):
    values = np.array(record.attributes["weather"].to_pylist()) == weather
    return values if label is None else values & labelled(record, label)


def labelled(record, label):
    return np.array([record.label(row) == label for row in range(len(record))])


def test_similar_examples_come_from_the_group_of_the_ticked_ones(record):
    for label in (None, "cat"):
        inside = where(record, "snow", label)
        ticked = np.flatnonzero(inside & record.searched)[:12]
        weights = similarity_weights(record, ticked.tolist())
        assert weights[~record.searched & inside].mean() > 0.5
        assert weights[~inside].mean() < 0.05


def test_similarity_does_not_depend_on_predictions_or_errors(record):
    ticked = np.flatnonzero(where(record, "fog") & record.searched)[:8].tolist()
    p = record.predictions
    other = replace(p, predictions=1 - p.predictions, correct=~p.correct, losses=p.losses[::-1])
    changed = LoadedRun(record.run, record.slices, other, record.findings)
    assert np.array_equal(similarity_weights(record, ticked), similarity_weights(changed, ticked))


def test_invalid_ticks_are_refused_with_a_reason(record):
    searched, held = np.flatnonzero(record.searched), np.flatnonzero(~record.searched)
    with pytest.raises(ValueError, match="at least 3"):
        similarity_weights(record, searched[:2].tolist())
    with pytest.raises(ValueError, match="at least 3"):
        similarity_weights(record, [*searched[:3].tolist(), 10**9])
    with pytest.raises(ValueError, match="kept for the test"):
        similarity_weights(record, [*searched[:3].tolist(), int(held[0])])
    with pytest.raises(ValueError, match="leave some out"):
        similarity_weights(record, np.flatnonzero(record.searched & labelled(record, "cat")).tolist())


@needs_chromium
@pytest.mark.slow
def test_ticked_examples_become_a_slice_that_is_confirmed_or_not(outputs, record):
    with serving(outputs) as server, opened(server, viewport={"width": 1200, "height": 900}) as tab:
        for turn, (weather, verdict) in enumerate((("fog", "confirmed"), ("sun", "not_confirmed")), start=1):
            query = urlencode({"where": f"weather={weather}", "label": "cat"})
            tab.goto(f"http://localhost:{server.port}/run/{record.run.digest}?{query}")
            ticks = tab.get_by_role("checkbox")
            for place in range(8):
                ticks.nth(place).check()
            follow(tab, tab.get_by_role("button", name="like the ticked ones"))
            assert ("reliable" in tab.locator("h1").inner_text()) == (verdict == "not_confirmed")
            made = next(run for run in RunIndex([outputs]).all() if run.method == "selection")
            findings = Findings.load(made.folder)
            assert findings.slices[0].evidence.verdict == verdict
            assert findings.confirmation.level == pytest.approx(0.05 / (turn * (turn + 1)))
            assert made.settings["selected"].startswith("like ")
            assert made.settings["selected"].endswith(" and 5 more")


def test_invalid_rows_are_refused(outputs, record):
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    with serving(outputs) as server:
        headers["Origin"] = f"http://localhost:{server.port}"
        for body in ("row=x", "row=-1&row=1&row=2", "row=1", "row=999999&row=1&row=2&row=3"):
            path = f"/run/{record.run.digest}/slices"
            status, _, text = asked(server, path, method="POST", body=body, **headers)
            assert status == 400
            assert "is not a whole number" in read(text) or "Tick at least 3" in read(text)


def test_attributes_hidden_in_a_run_are_hidden_in_its_selections(outputs, tmp_path):
    discover(
        Scan(n_slices=1), Predictions.load(outputs / "predictions" / "net"), tmp_path, restating=("weather",)
    )
    runs = RunIndex([tmp_path, outputs])
    record = LoadedRuns(runs).load(next(run for run in runs.all() if run.folder == tmp_path))
    save_selection(
        record, where(record, "fog").astype(float), "fog", tmp_path / "new", SelectionTest(1), Media(), None
    )
    assert ("weather", "restates the target") in Findings.load(tmp_path / "new").whole.left_out
