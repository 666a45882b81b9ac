"""The explorer: real requests to a real server, and a real browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sys
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from html import escape
from urllib.request import urlopen

import numpy as np
import pytest
from omegaconf import OmegaConf

from explorer import asked, follow, read, serving
from paths import ROOT
from report_pages import chromium, needs_chromium
from weakspot import Findings, Predictions, Slices
from weakspot.app.guard import POLICY, SANDBOX
from weakspot.app.run_index import RunIndex
from weakspot.commands.browse import upload_choices
from weakspot.findings.numbers import THIN
from weakspot.legible import shortened
from weakspot.report.html import render
from weakspot.slices.statistics import describe


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("made")
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
def runs(made, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def server(runs):
    with serving(runs) as server:
        yield server


def find_runs(folders):
    return RunIndex(folders).all()


def get(server, path, host="localhost"):
    status, _, text = asked(server, path, host)
    return status, text


def test_every_run_with_slices_is_listed_and_opens(runs, server):
    status, page = get(server, "/")
    assert status == 200
    found = find_runs([runs])
    assert sorted(run.folder.relative_to(runs).as_posix() for run in found) == ["a", "b/c"]
    for run in found:
        assert run.address in page
        assert get(server, run.address) == (200, run.report.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("folders", "places"),
    [
        (["outputs"], {"outputs/a", "outputs/b/c"}),
        (["outputs/a", "outputs/b"], {"a", "b/c"}),
        (["outputs/a", "elsewhere"], {"outputs/a", "elsewhere/caf\\xe9 <b>"}),
    ],
)
def test_a_run_is_named_by_its_folder(made, tmp_path, folders, places):
    """All runs have the same method and dataset; folder names may be anything."""
    shutil.copytree(made, tmp_path / "outputs")
    shutil.copytree(made / "a", tmp_path / "elsewhere" / "caf\udce9 <b>")
    homes = [tmp_path / folder for folder in folders]
    index = RunIndex(homes)
    listed = {run.place: run for run in index.all()}
    assert set(listed) == places
    assert all(index.find(run.digest).place == place for place, run in listed.items())
    with serving(*homes) as server:
        compare, runs = read(get(server, "/compare")[1]), get(server, "/")[1]
        for place in places:
            assert f">{escape(place).replace('/', '/<wbr>')}</a>" in runs
            assert f"{place} · spotlight · " in compare


def test_a_finding_is_listed_with_the_share_that_its_name_covers(runs, server):
    found = Findings.load(runs / "a")
    named = [
        replace(one, name="pen = felt", covers=0.53, holds_for=0.6, verdict="confirmed")
        for one in found.findings
    ]
    replace(found, findings=tuple(named)).save(runs / "a")
    assert f"<td>53{THIN}% of pen = felt, among others</td>" in get(server, "/")[1]


def test_text_from_a_run_is_escaped(server):
    _, page = get(server, "/")
    assert "&lt;script&gt;alert(1)" in page
    assert page.count("<script") == 2
    assert all(f'<script src="/static/{name}.js" defer>' in page for name in ("sort", "app"))


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
        "/static/",
        "/static/../",
    ]
    for path in [start + tail for start in starts for tail in tails]:
        for tried in (path, path.replace("/", "%2f"), path.replace("../", "..%5c"), f"file://{path}"):
            status, text = get(server, tried)
            assert status in (400, 404), tried
            assert "the secret" not in text, tried


def unsealed(folder):
    """The fields of a run's findings.json, without the seal that reveals a change."""
    fields = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
    return {name: value for name, value in fields.items() if name not in ("seal", "checksums")}


def test_a_damaged_run_does_not_hide_the_others(runs, server):
    said = unsealed(runs / "a")
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
    damaged = {run.folder.name: run for run in find_runs([runs]) if run.damage}
    assert set(damaged) == set(odd)
    for run in damaged.values():
        assert f"Damaged: {run.damage}" in read(page)
    assert damaged["number"].damage.endswith("findings.json cannot be read: it is not a JSON object")
    for word in ("/compare", "/clusters"):
        assert get(server, word)[0] == 200
    assert not any(run.digest in get(server, "/compare")[1] for run in damaged.values())


def test_a_changed_digit_is_reported_as_damage(runs, server):
    """Every field has the right type, so only the seal reveals the change."""
    file = runs / "a" / "findings.json"
    text = file.read_text(encoding="utf-8")
    (share,) = re.findall(r'"errors_explained": ?(0\.\d+)', text)[:1]
    file.write_text(text.replace(share, "0.123456789"), encoding="utf-8")
    run = next(run for run in find_runs([runs]) if run.folder.name == "a")
    assert run.errors_explained is None
    assert run.damage == f"{file} cannot be read: its content is not what was written; run discover.py again"
    assert f"Damaged: {run.damage}" in read(get(server, "/")[1])
    assert run.damage in read(get(server, f"/run/{run.digest}")[1])


def test_an_old_run_without_findings_is_listed(runs):
    (runs / "a" / "findings.json").unlink()
    old = next(run for run in find_runs([runs]) if run.folder.name == "a")
    assert (old.method, old.n_slices, old.title) == ("spotlight", 2, "")


def test_a_report_has_its_own_origin_and_every_page_answers_head(runs, server):
    policies = {"/": POLICY, find_runs([runs])[0].address: SANDBOX}
    for path, policy in policies.items():
        status, headers, text = asked(server, path, method="HEAD")
        assert (status, text) == (200, "")
        assert headers["Content-Security-Policy"] == policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert int(headers["Content-Length"]) == len(get(server, path)[1].encode())
    assert "allow-same-origin" not in SANDBOX
    assert "unsafe" not in POLICY


@pytest.mark.parametrize(
    "host",
    ["reports.example", "127.0.0.1.example", "localhost.", "10.0.0.1", "", "a b", "[", "@localhost"],
)
def test_only_requests_to_this_machine_are_answered(server, host):
    assert server.host == "127.0.0.1"
    assert get(server, "/", host=host)[0] in (400, 403)
    for own in ("127.0.0.1", "LOCALHOST", "[::1]"):
        assert get(server, "/", host=own)[0] == 200


def test_a_request_without_a_host_is_refused(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize(
    "origin", [None, "null", "http://reports.example", "https://localhost", "http://localhost:1"]
)
def test_only_the_explorers_own_pages_may_post(server, origin):
    headers = {} if origin is None else {"Origin": origin}
    assert asked(server, "/", method="POST", body=b"", **headers)[0] == 403
    own = f"http://localhost:{server.port}"
    # let through, but this page takes no POST
    assert asked(server, "/", method="POST", body=b"", Origin=own)[0] == 405


@pytest.mark.parametrize("chunked", [False, True])
def test_a_request_that_is_too_large_is_refused(server, chunked):
    body = [b"x" * 100_000] * 12 if chunked else b"x" * 1_200_000
    headers = {"Origin": f"http://localhost:{server.port}"}
    if chunked:  # without a stated length, the bytes are counted as the form is read
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    status, _, text = asked(server, "/compare", method="POST", body=body, **headers)
    assert status == 413
    assert "more than the 1,048,576 bytes" in text


def test_a_token_is_required_beyond_the_loopback_interface(runs):
    with serving(runs, host="0.0.0.0") as server:
        address, _, query = server.address.partition("?")
        assert query.startswith("token=")
        assert address.endswith(f":{server.port}/")
        report = find_runs([runs])[0].address
        for path in ("/", report, "/static/app.css", "/?token=", "/?token=x"):
            status, _, text = asked(server, path)
            assert status == 403
            assert "token" in text
        status, headers, _ = asked(server, f"{report}?{query}&a=b")
        assert (status, headers["Location"]) == (303, f"{report}?a=b")
        assert "HttpOnly" in headers["Set-Cookie"]
        assert "samesite=strict" in headers["Set-Cookie"].lower()
        cookie = headers["Set-Cookie"].partition(";")[0]
        assert asked(server, "/", Cookie=cookie)[0] == 200
        assert asked(server, "/", Cookie=cookie + "x")[0] == 403
        assert asked(server, "/", Cookie=f"weakspot-{server.port}=é".encode().decode("latin-1"))[0] == 403
        assert asked(server, "/", host="10.1.2.3", Cookie=cookie)[0] == 200
        assert asked(server, "/", host="rebound.example", Cookie=cookie)[0] == 403
        status, headers, _ = asked(server, f"//elsewhere.example/?{query}")
        assert headers["Location"] == "/elsewhere.example/"


def test_a_token_can_be_required_on_this_machine(runs):
    with serving(runs, token=True) as server:
        assert server.host == "127.0.0.1"
        assert get(server, "/")[0] == 403
        query = server.address.partition("?")[2]
        cookie = asked(server, f"/?{query}")[1]["Set-Cookie"].partition(";")[0]
        assert asked(server, "/", Cookie=cookie)[0] == 200
        assert asked(server, "/", host="10.1.2.3", Cookie=cookie)[0] == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_the_displayed_address_is_answered(runs, host):
    with serving(runs, host=host) as server:
        assert urlopen(server.address, timeout=10).status == 200


def lead(link, target):
    link.unlink()
    link.symlink_to(target)


@pytest.mark.parametrize("where", ["outside", "another run", "a folder", "a circle"])
def test_a_report_that_links_out_of_its_folder_is_not_shown(runs, server, tmp_path_factory, where):
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


def test_findings_that_link_out_of_their_folder_are_not_read(runs, server, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "findings.json"
    said = json.loads((runs / "a" / "findings.json").read_text(encoding="utf-8"))
    elsewhere.write_text(json.dumps(said | {"title": "the secret"}))
    lead(runs / "a" / "findings.json", elsewhere)
    assert "the secret" not in get(server, "/")[1]
    (runs / "a" / "slices" / "slices.json").replace(elsewhere)
    (runs / "a" / "slices" / "slices.json").symlink_to(elsewhere)
    listed = {run.folder.name: run.damage for run in find_runs([runs])}
    outside = f"{runs / 'a' / 'findings.json'} leads out of the run's folder, so it is not read"
    assert listed == {"a": outside, "c": ""}


def test_a_folder_or_a_dangling_link_among_the_slices_is_not_a_link_out_of_the_run(runs):
    (runs / "a" / "slices" / ".ipynb_checkpoints").mkdir()
    (runs / "a" / "slices" / "notes").symlink_to("nowhere")
    assert {run.folder.name: run.damage for run in find_runs([runs])} == {"a": "", "c": ""}
    (runs / "a" / "findings.json").unlink()
    (runs / "a" / "findings.json").mkdir()
    assert "leads out" not in " ".join(run.damage for run in find_runs([runs]))


def test_links_within_a_run_and_to_the_folder_of_runs_are_followed(runs, tmp_path_factory):
    (runs / "a" / "report.html").rename(runs / "a" / "kept.html")
    (runs / "a" / "report.html").symlink_to("kept.html")
    outputs = tmp_path_factory.mktemp("elsewhere") / "outputs"
    outputs.symlink_to(runs)
    assert sorted(run.folder.name for run in find_runs([outputs])) == ["a", "c"]


def test_a_pipe_named_like_a_report_does_not_block_the_server(runs, server):
    (runs / "a" / "report.html").unlink()
    os.mkfifo(runs / "a" / "report.html")
    assert get(server, "/")[0] == 200


def eventually(holds, seconds=20):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def hung_up_on(client):
    try:
        return client.recv(1) == b""
    except ConnectionResetError:  # closed before it was read
        return True


def test_many_slow_clients_neither_hold_threads_nor_lock_others_out(runs, server):
    server.limits.connections = 8
    clients = []
    for _ in range(60):
        client = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        client.sendall(b"GET / HT")
        clients.append(client)
    assert get(server, "/")[0] == 200  # this request came last, so all others were accepted
    eventually(lambda: server.connections <= 9)
    assert hung_up_on(clients[0])
    for client in clients:
        client.close()


def test_a_request_that_is_never_completed_is_closed(server):
    server.limits.seconds = 0.2
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(b"GET / HT")
        assert hung_up_on(client)
    eventually(lambda: server.connections == 0)


def test_a_request_sent_byte_by_byte_times_out(server):
    server.limits.seconds = 1.0
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(b"GET / HTTP/1.0\r\n")
        begun = time.monotonic()
        with suppress(OSError):
            while time.monotonic() < begun + 20:
                client.sendall(b"x")
                time.sleep(0.05)
        assert time.monotonic() < begun + 10


def test_an_unread_answer_times_out_and_a_client_that_hangs_up_leaves_no_traceback(runs, server, capsys):
    (runs / "a" / "report.html").write_text("x" * (32 << 20))
    address = next(run.address for run in find_runs([runs]) if run.folder.name == "a")
    server.limits.seconds = 0.5
    for hangs_up in (False, True):
        client = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        client.sendall(f"GET {address} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        assert client.recv(20).startswith(b"HTTP/1.1 200")
        if hangs_up:
            client.close()
        eventually(lambda: server.connections == 0)
        client.close()
    assert capsys.readouterr().err == ""


def test_a_run_is_listed_with_its_command_and_settings(runs, server):
    said = unsealed(runs / "a")
    settings = {
        "seed": 7,
        "min_size": 0.02,
        "past": None,
        "center": False,
        "sizes": [20, 40],
        "of": "x" * 400,
    }
    said |= {"provenance": {"settings": settings}, "command": "python discover.py seed=7"}
    (runs / "a" / "findings.json").write_text(json.dumps(said), encoding="utf-8")
    run = next(run for run in find_runs([runs]) if run.folder.name == "a")
    assert run.seed == "7"
    assert run.settings == {
        "min_size": "0.02",
        "past": "null",
        "center": "false",
        "sizes": "[20,40]",
        "of": shortened("x" * 400),
    }
    page = get(server, "/")[1]
    assert "python discover.py seed=7" in page
    assert "min_size=0.02" in page


def test_a_run_is_read_again_only_when_it_has_changed(runs):
    shelf = RunIndex([runs])
    first = {run.folder.name: run for run in shelf.all()}
    said = unsealed(runs / "a")
    (runs / "a" / "findings.json").write_text(json.dumps(said | {"title": "another"}), encoding="utf-8")
    second = {run.folder.name: run for run in shelf.all()}
    assert second["c"] is first["c"]
    assert second["a"].title == "another"


def test_the_age_of_a_run_is_that_in_its_record_even_if_it_was_copied(runs):
    """If the record has no valid time, the age is that of the page."""
    for folder, created in (("a", "2026-01-02T03:04:05+00:00"), ("b/c", "yesterday")):
        said = unsealed(runs / folder)
        (runs / folder / "findings.json").write_text(
            json.dumps(said | {"created": created}), encoding="utf-8"
        )
        os.utime(runs / folder / "report.html", (1_700_000_000, 1_700_000_000))  # in 2023
    assert [(run.folder.name, run.created.timestamp()) for run in find_runs([runs])] == [
        ("a", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()),
        ("c", 1_700_000_000),
    ]
    for odd in ("0001-01-01", "9999-12-31T23:59:59-23:00", "2026-01-02"):
        (runs / "a" / "findings.json").write_text(
            json.dumps(unsealed(runs / "a") | {"created": odd}), encoding="utf-8"
        )
        assert {run.damage for run in find_runs([runs])} == {""}


def test_runs_logged_offline_are_listed(runs, server):
    run = runs / "a" / "wandb" / "offline-run-20261129_205941-ugvwkz6j"
    run.mkdir(parents=True)
    (run / "run-ugvwkz6j.wandb").write_bytes(b"x" * 12)
    for odd in ("offline-run-20261399_205941-x", "offline-run-<b>"):
        (run.parent / odd).mkdir()
        (run.parent / odd / "run-x.wandb").write_bytes(b"")
    page = get(server, "/")[1]
    assert f"wandb sync {run}" in page
    assert "2026-11-29 20:59:41" in page
    assert page.count("wandb sync") == 1


@needs_chromium
def test_the_list_sorts_and_filters_and_is_a_plain_table_without_script(runs):
    said = unsealed(runs / "a")
    for seed in (3, 12):
        folder = runs / f"scan-{seed}"
        folder.mkdir()
        (folder / "report.html").write_text('<title>the report</title><link rel="icon" href="data:,">')
        provenance = {"settings": {"seed": seed}}
        told = said | {"method": "scan", "dataset": "pets", "provenance": provenance}
        (folder / "findings.json").write_text(json.dumps(told))
    with serving(runs) as server, chromium() as browser:
        tab, complaints = browser.new_page(), []
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(f"http://localhost:{server.port}/")
        rows = tab.locator("tbody tr:visible")
        assert rows.count() == 4
        tab.get_by_role("button", name="Seed").click()
        assert rows.locator("td:nth-child(6)").all_inner_texts() == ["12", "3", "–", "–"]
        tab.get_by_role("button", name="Seed").click()
        assert rows.locator("td:nth-child(6)").all_inner_texts() == ["3", "12", "–", "–"]
        tab.get_by_label("Method").select_option("scan")
        assert rows.count() == 2
        assert tab.get_by_role("status").inner_text() == "2 of 4"
        tab.get_by_label("Method").select_option("")
        tab.get_by_label("Search").fill("PETS scan")
        assert rows.count() == 2
        follow(tab, rows.first.get_by_role("link").first)
        assert tab.title() == "the report"
        assert tab.evaluate("self.origin") == "null"
        assert complaints == []

        plain = browser.new_context(java_script_enabled=False).new_page()
        plain.goto(f"http://localhost:{server.port}/")
        assert plain.locator("tbody tr:visible").count() == 4
        # what remains needs no script: the checkboxes of a plain form
        assert (
            plain.locator("input:not([form=compare-form]), select, button:not(#compare-form button)").count()
            == 0
        )
        plain.locator("input[form=compare-form]").first.check()
        follow(plain, plain.get_by_role("button", name="Compare the ticked"))
        assert "tick two runs" in plain.locator("main").inner_text()


def test_upload_choices_are_words_of_the_command_line(monkeypatch):
    monkeypatch.setattr("sys.argv", [str(ROOT / "browse.py")])
    words = upload_choices(OmegaConf.create({"words": ["dataset.root=/data/my faces", "logger=none"]}))
    assert words.command == (sys.executable, str(ROOT / "discover.py"))
    assert {"fairface", "csv"} <= set(words.datasets)
    assert {"small_cnn", "resnet18"} <= set(words.models)
    assert "module" not in words.models  # its path may name any code
    assert {"scan", "udis"} <= set(words.methods)
    assert words.extra_words == ("dataset.root=/data/my faces", "logger=none")
    monkeypatch.setattr("sys.argv", ["/usr/bin/weakspot-browse"])
    assert upload_choices(OmegaConf.create({"words": []})).command[1] == "/usr/bin/weakspot-discover"
