"""Two runs compared in the explorer, with the same result as on the command line."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from urllib.parse import urlencode

import numpy as np
import pytest

import extending_page
from explorer import asked, follow, opened, read, serving
from pet_runs import predictions, write_run
from report_pages import needs_chromium
from shell import Shell
from weakspot import Predictions, Scan
from weakspot.app.run_index import RunIndex
from weakspot.findings.compare_slices import compare_slices
from weakspot.findings.comparison import Comparison
from weakspot.pipeline.discover import discover
from weakspot.pipeline.saved_runs import SavedRun
from weakspot.testing import example_predictions


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared") / "outputs"
    for name, fails in (("old", [0, 1]), ("new", [1, 2])):
        write_run(folder, name, fails, Scan(n_slices=3))
    return folder


@pytest.fixture(scope="module")
def server(outputs):
    with serving(outputs) as server:
        yield server


def digests(outputs):
    return {run.folder.name: run.digest for run in RunIndex([outputs]).all() if not run.is_comparison}


def compared(server, before, after, origin=None):
    headers = {
        "Origin": origin or f"http://localhost:{server.port}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    body = urlencode({"before": before, "after": after})
    return asked(server, "/compare", method="POST", body=body, **headers)


@needs_chromium
def test_two_runs_are_compared_as_on_the_command_line(server, outputs):
    known = digests(outputs)
    with opened(server) as tab:
        follow(tab, tab.get_by_role("link", name="Compare", exact=True))
        tab.get_by_label("Before").select_option(known["old"])
        tab.get_by_label("After").select_option(known["new"])
        follow(tab, tab.get_by_role("button", name="Compare"))
        words = " ".join(tab.locator("body").inner_text().split())
        for status in ("Fixed", "Persisting", "New"):
            assert status in words
        assert tab.evaluate("self.origin") == "null"
        tab.goto(f"http://localhost:{server.port}/")
        assert tab.locator("tbody tr").first.locator("td").first.inner_text() == "compare"
    (made,) = (run for run in RunIndex([outputs]).all() if run.is_comparison)
    before, after = (
        SavedRun.open(outputs / "discover" / name).run_to_compare(outputs / "predictions")
        for name in ("old", "new")
    )
    expected, found = compare_slices(before, after), Comparison.load(made.folder)
    assert [(one.name, one.status) for one in found.slices] == [
        (one.name, one.status) for one in expected.slices
    ]
    statuses = {one.status for one in found.slices}
    assert {"fixed", "persisting", "new"} <= statuses


@needs_chromium
def test_two_checkpoints_of_one_model_are_compared_by_ticking_them_in_the_list(tmp_path):
    for name, fails in (("epoch_1", [0, 1]), ("epoch_9", [1])):
        store = tmp_path / "predictions" / name
        store.parent.mkdir(exist_ok=True)
        predictions(fails, "net", checkpoint=f"weights/{name}.pt").save(store)
        discover(Scan(n_slices=3), Predictions.load(store), tmp_path / name)
    with serving(tmp_path) as server, opened(server) as tab:
        rows = tab.locator("tbody tr")
        assert [row.split("\t")[4] for row in rows.all_inner_texts()] == [
            "weights/epoch_9.pt",
            "weights/epoch_1.pt",
        ]
        for row in rows.all():
            row.get_by_role("checkbox").check()
        follow(tab, tab.get_by_role("button", name="Compare the ticked"))
        chosen = "select => select.selectedOptions[0].textContent"
        assert "epoch_1.pt" in tab.get_by_label("Before").evaluate(chosen)
        assert "epoch_9.pt" in tab.get_by_label("After").evaluate(chosen)
        follow(tab, tab.get_by_role("button", name="Compare"))
        assert tab.evaluate("self.origin") == "null"  # the comparison's page
    (made,) = (run for run in RunIndex([tmp_path]).all() if run.is_comparison)
    found = {
        (one.status, "snow" in one.name or "fog" in one.name) for one in Comparison.load(made.folder).slices
    }
    assert {("fixed", True), ("persisting", True)} <= found


def test_the_form_preselects_the_ticked_runs_or_the_run_before(server, outputs):
    known = digests(outputs)
    for query, before, after in (
        ("", "old", "new"),
        (f"?after={known['new']}", "old", "new"),
        (f"?after={known['old']}", "new", "old"),
        (f"?run={known['new']}&run={known['old']}", "old", "new"),
    ):
        status, _, text = asked(server, f"/compare{query}")
        assert status == 200
        chosen = re.findall(r'value="(\w+)" selected', text)
        assert chosen == [known[before], known[after]]
    for query in (f"?run={known['new']}", "?run=x&run=y"):
        status, _, text = asked(server, f"/compare{query}")
        assert status == 400
        assert "tick two runs" in read(text)


def test_runs_in_two_embeddings_are_distinguished(tmp_path):
    p = predictions([0, 1], "net", checkpoint="epoch_9.pt")
    discover(Scan(n_slices=1), p, tmp_path / "runs" / "last")
    with serving(tmp_path / "runs") as server:
        assert "Embedding" not in asked(server, "/")[2]
        elsewhere = replace(p, manifest={**p.manifest, "embedding": "layer <features>"})
        discover(Scan(n_slices=1), elsewhere, tmp_path / "runs" / "layer")
        page, form = (asked(server, path)[2] for path in ("/", "/compare"))
    assert '<th scope="col">Embedding</th>' in page
    for cell in ("layer &lt;features&gt;", "last layer"):
        assert re.search(rf"<td>net</td>\s*<td>{cell}</td>", page)
    assert form.count("· net · layer &lt;features&gt; · epoch_9.pt") == 2  # before and after
    assert form.count("· net · epoch_9.pt") == 2


def test_slices_of_an_unknown_method_are_named_as_in_their_reports(tmp_path):
    """The explorer does not import plug-ins."""
    extending_page.write_files(tmp_path)
    p, shell = example_predictions(400), Shell(tmp_path)
    np.savez(tmp_path / "p.npz", embeddings=p.embeddings, labels=p.labels, outputs=p.outputs)
    for name in ("old", "new"):
        shell("discover", "predictions=p.npz", "method=ball", "logger=none", f"hydra.run.dir={name}")
    known = digests(tmp_path)
    with serving(tmp_path) as server:
        status, headers, _ = compared(server, known["old"], known["new"])
        assert status == 303
        page = asked(server, headers["location"])[2]
    assert "Ball 1" in page
    assert "Slice 1" not in page


def test_invalid_comparisons_are_refused_with_a_reason(server, outputs):
    known = digests(outputs)
    for before, after, reason in (
        (known["old"], known["old"], "Both are the same run"),
        (known["old"], "x", "Choose two runs from the list"),
        (known["old"], "", "Choose two runs from the list"),
        ("../../etc", known["old"], "Choose two runs from the list"),
    ):
        status, _, text = compared(server, before, after)
        assert status == 400
        assert reason in read(text)
    assert compared(server, known["old"], known["new"], "http://elsewhere.example")[0] == 403


def test_an_opened_run_is_found_again_unless_its_report_is_gone(outputs, tmp_path):
    shelf = RunIndex([outputs])
    digest = digests(outputs)["old"]
    first = shelf.find(digest)
    assert shelf.find(digest) is first
    report = first.report
    report.rename(tmp_path / "kept")
    try:
        assert shelf.find(digest) is None
    finally:
        (tmp_path / "kept").rename(report)
    assert shelf.find(digest).folder == first.folder


def test_a_run_with_the_slices_of_another_is_refused_with_a_reason(outputs, tmp_path):
    """Both runs have the same number of slices of the same examples; only the members differ."""
    shutil.copytree(outputs / "discover", tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "old" / "slices")
    shutil.copytree(tmp_path / "new" / "slices", tmp_path / "old" / "slices")
    known = digests(tmp_path)
    with serving(tmp_path, data_folders=[outputs / "predictions"]) as server:
        for status, _, text in (
            asked(server, f"/run/{known['old']}"),
            asked(server, f"/run/{known['old']}/tree"),
            compared(server, known["old"], known["new"]),
        ):
            assert status == 400
            assert (
                "old/findings.json does not describe the slices beside it: it is about 3 slices of scan in 600"
                in (read(text))
            )
        assert asked(server, f"/run/{known['new']}")[0] == 200
