"""The live browser: real requests to a real server."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from contextlib import suppress
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


def lead(link, target):
    link.unlink()
    link.symlink_to(target)


@pytest.mark.parametrize("where", ["outside", "another run", "a folder", "a circle"])
def test_a_report_that_is_a_link_out_of_its_folder_is_no_report(runs, server, tmp_path_factory, where):
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.html"
    secret.write_text("the secret")
    report = runs / "a" / "report.html"
    address = next(run.address for run in find_runs([runs]) if run.folder.name == "a")
    targets = {
        "outside": secret,
        "another run": "../b/c/report.html",
        "a folder": secret.parent,
        "a circle": report,
    }
    lead(report, targets[where])
    assert [run.folder.name for run in find_runs([runs])] == ["c"]
    assert get(server, address)[0] == 404


def test_findings_that_are_a_link_out_of_their_folder_are_not_read(runs, server, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "findings.json"
    said = json.loads((runs / "a" / "findings.json").read_text(encoding="utf-8"))
    elsewhere.write_text(json.dumps(said | {"title": "the secret"}))
    lead(runs / "a" / "findings.json", elsewhere)
    assert "the secret" not in get(server, "/")[1]
    (runs / "a" / "slices" / "slices.json").replace(elsewhere)
    (runs / "a" / "slices" / "slices.json").symlink_to(elsewhere)
    assert [run.folder.name for run in find_runs([runs])] == ["c"]


def test_links_within_a_run_and_to_the_folder_of_runs_are_followed(runs, tmp_path_factory):
    (runs / "a" / "report.html").rename(runs / "a" / "kept.html")
    (runs / "a" / "report.html").symlink_to("kept.html")
    outputs = tmp_path_factory.mktemp("elsewhere") / "outputs"
    outputs.symlink_to(runs)
    assert sorted(run.folder.name for run in find_runs([outputs])) == ["a", "c"]


def test_a_pipe_that_is_called_a_report_holds_nobody_up(runs, server):
    (runs / "a" / "report.html").unlink()
    os.mkfifo(runs / "a" / "report.html")
    assert get(server, "/")[0] == 200


def answering():
    return sum("process_request_thread" in thread.name for thread in threading.enumerate())


def eventually(holds, seconds=20):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_hundreds_of_slow_clients_neither_keep_threads_nor_keep_others_out(runs, server):
    server.connections = 8
    clients = []
    for _ in range(60):
        client = socket.create_connection(("127.0.0.1", server.server_port), timeout=10)
        client.sendall(b"GET / HT")
        clients.append(client)
    assert get(server, "/")[0] == 200  # the last to come, so all others have been let in
    eventually(lambda: answering() <= 8)
    assert clients[0].recv(1) == b""  # it was hung up on
    server.seconds = 0.2
    eventually(lambda: answering() == 0)
    for client in clients:
        client.close()


def test_a_request_that_comes_byte_by_byte_has_its_time(server):
    server.seconds = 1.0
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as client:
        client.sendall(b"GET / HTTP/1.0\r\n")
        begun = time.monotonic()
        with suppress(OSError):
            while time.monotonic() < begun + 20:
                client.sendall(b"x")
                time.sleep(0.05)
        assert time.monotonic() < begun + 10


def test_an_answer_that_is_not_taken_has_its_time_and_one_that_hangs_up_leaves_no_traceback(
    runs, server, capsys
):
    (runs / "a" / "report.html").write_text("x" * (32 << 20))
    address = next(run.address for run in find_runs([runs]) if run.folder.name == "a")
    server.seconds = 0.5
    for hangs_up in (False, True):
        client = socket.create_connection(("127.0.0.1", server.server_port), timeout=10)
        client.sendall(f"GET {address} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        assert client.recv(20).startswith(b"HTTP/1.0 200")
        if hangs_up:
            client.close()
        eventually(lambda: answering() == 0)
        client.close()
    assert capsys.readouterr().err == ""
