"""The live browser: real requests to a real server."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from http.client import HTTPConnection

import numpy as np
import pytest

from weakspot import Findings, Predictions, Slices
from weakspot.report.browser import find_runs, make_server
from weakspot.report.html import render
from weakspot.slices.statistics import describe


@pytest.fixture
def runs(tmp_path):
    rng = np.random.default_rng(0)
    p = Predictions.from_arrays(
        rng.normal(size=(30, 2)), outputs=rng.normal(size=(30, 2)), labels=rng.integers(0, 2, 30)
    )
    manifest = {"dataset": "<script>alert(1)</script>", "model": "small_cnn"}
    weights = rng.random((2, 30))
    for name in ("a", "b/c"):
        folder = tmp_path / name
        provenance = {"predictions": manifest}
        slices = Slices("spotlight", p.ids, weights, describe(weights, p), provenance=provenance)
        slices.save(folder / "slices")
        findings = Findings.build(replace(p, manifest=manifest), slices, command=name)
        findings.save(folder)
        (folder / "report.html").write_text(render(findings), encoding="utf-8")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "report.html").write_text("no slices beside it")
    return tmp_path


@pytest.fixture
def server(runs):
    with make_server([runs]) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def get(server, path, host="localhost"):
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request("GET", path, headers={"Host": f"{host}:{server.server_port}"})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_every_run_with_slices_is_listed_and_opens(runs, server):
    status, page = get(server, "/")
    assert status == 200
    found = find_runs([runs])
    assert sorted(run.folder.relative_to(runs).as_posix() for run in found) == ["a", "b/c"]
    for run in found:
        assert run.address in page
        assert get(server, run.address) == (200, run.report.read_text(encoding="utf-8"))


def test_what_a_run_says_of_itself_is_escaped(server):
    _, page = get(server, "/")
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page


@pytest.mark.parametrize("beside", ["", "run/", "a/", "a/slices/"])
def test_no_path_reaches_a_file_beside_the_reports(runs, server, beside):
    (runs / beside).mkdir(exist_ok=True)
    secret = runs / beside / "secret.html"
    secret.write_text("the secret")
    run = find_runs([runs])[0].address
    tails = [
        f"{beside}secret.html",
        f"../{runs.name}/{beside}secret.html",
        str(secret),
        f"a/../{beside}secret.html",
    ]
    starts = [
        "/",
        "//",
        "/../",
        "/run/",
        "/run/../",
        f"{run}/",
        f"{run}/../",
        f"{run}/../../",
        "/%2e%2e/",
        "/./",
    ]
    for path in [start + tail for start in starts for tail in tails]:
        for asked in (path, path.replace("/", "%2f"), path.replace("../", "..%5c"), f"file://{path}"):
            status, text = get(server, asked)
            assert status == 404, asked
            assert "the secret" not in text, asked


def test_an_odd_run_does_not_take_the_others_down(runs, server):
    said = json.loads((runs / "a" / "findings.json").read_text(encoding="utf-8"))
    odd = {
        "texts": json.dumps(said | {"findings": [{"verdict": "<b>many</b>", "errors_explained": "no"}]}),
        "lists": json.dumps(said | {"findings": [{"verdict": [1], "name": {}, "errors_explained": []}]}),
        "huge": json.dumps(said | {"findings": [{"verdict": "", "errors_explained": 1e999}]}),
        "none": json.dumps(said | {"findings": None}),
        "deep": "[" * 200_000,
        "number": "7",
    }
    for name, text in odd.items():
        (runs / name).mkdir()
        (runs / name / "report.html").write_text(name)
        (runs / name / "findings.json").write_text(text)
    status, page = get(server, "/")
    assert status == 200
    assert "<b>many" not in page
    listed = {run.folder.name for run in find_runs([runs])}
    assert listed == {"a", "c", "texts", "lists", "huge"}


def test_a_run_from_before_there_were_findings_is_listed_too(runs):
    (runs / "a" / "findings.json").unlink()
    old = next(run for run in find_runs([runs]) if run.folder.name == "a")
    assert (old.method, old.n_slices, old.title) == ("spotlight", 2, "")


def test_a_page_has_an_origin_of_its_own_and_a_head(runs, server):
    for path in ("/", find_runs([runs])[0].address):
        connection = HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        connection.request("HEAD", path, headers={"Host": "localhost"})
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"")
        assert answer.headers["Content-Security-Policy"] == "sandbox allow-scripts allow-popups"
        assert int(answer.headers["Content-Length"]) == len(get(server, path)[1].encode())
        connection.close()


def test_only_this_machine_is_answered(server):
    assert server.server_address[0] == "127.0.0.1"
    assert get(server, "/", host="reports.example")[0] == 403
