"""The live browser: real requests to a real server."""

from __future__ import annotations

import threading
from http.client import HTTPConnection

import numpy as np
import pytest

from weakspot import Predictions, Slices
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
        (folder / "report.html").write_text(render(p, slices, command=name), encoding="utf-8")
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


@pytest.mark.parametrize(
    "path", ["/../pyproject.toml", "/a/report.html", "/run/0", "//etc/passwd", "/%2e%2e/x"]
)
def test_no_path_reaches_the_file_system(server, path):
    assert get(server, path)[0] == 404


def test_only_this_machine_is_answered(server):
    assert server.server_address[0] == "127.0.0.1"
    assert get(server, "/", host="reports.example")[0] == 403
