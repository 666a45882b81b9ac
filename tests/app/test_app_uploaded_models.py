"""Models uploaded to the explorer: hostile files are refused, and valid ones are audited by the ordinary command."""

from __future__ import annotations

import io
import os
import pickle
import re
import signal
import struct
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save

from explorer import asked, follow, opened, posted, read, serving
from paths import ROOT
from processes import ended_with, quiet_environment
from report_pages import needs_chromium
from weakspot.app.uploaded_models import Audits, UploadChoices
from weakspot.models.small_cnn import SmallCNN
from weakspot.tasks import Classification


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def server(home):
    with serving(home) as server:
        yield server


def weights():
    torch.manual_seed(0)
    return SmallCNN(Classification(("<5", "≥5"))).state_dict()


def saved(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


class Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def packed(content):
    """The same archive with its files compressed."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    return buffer.getvalue()


def overlapping(content):
    """The same archive with a directory that lists one file a thousand times."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
        start = archive.start_dir
    end = content.rindex(b"PK\x05\x06")
    directory = content[start:end]
    at = directory.index(largest.filename.encode()) - 46
    one = directory[at : at + 46 + len(largest.filename) + len(largest.extra) + len(largest.comment)]
    many = b"".join(
        one.replace(largest.filename.encode(), f"{i:0{len(largest.filename)}d}".encode()) for i in range(1000)
    )
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1000, 1000, len(many), start, 0)
    return content[:start] + many + tail


HOSTILE = {
    "nothing": (lambda mark: b"", "No file was chosen"),
    "text": (lambda mark: b"hello", "is not a file of weights"),
    "code": (
        lambda mark: saved({"w": torch.zeros(2), "x": Evil(mark)}),
        "is refused|holds no weights|not a file of weights",
    ),
    "code, as pickle alone": (lambda mark: pickle.dumps(Evil(mark)), "is refused|not a file of weights"),
    "packed": (lambda mark: packed(saved({"w": torch.zeros(1_000_000)})), "unpacks to more than its size"),
    "overlapping": (lambda mark: overlapping(saved({"w": torch.zeros(1000)})), "to more than its size"),
    "cut short": (lambda mark: saved({"w": torch.zeros(100)})[:-200], "not a file of weights|damaged"),
    "no weights": (lambda mark: saved({"a": 1}), "holds no weights"),
    "safetensors that announce too much": (
        lambda mark: struct.pack("<Q", 1 << 60) + b"{}",
        "is not a safetensors file",
    ),
    "safetensors beyond their end": (
        lambda mark: (
            struct.pack("<Q", 62) + b'{"w":{"dtype":"F32","shape":[999999],"data_offsets":[0,3999996]}}'[:62]
        ),
        "is not a safetensors file",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused_with_a_reason_and_leaves_nothing(server, home, tmp_path, kind):
    make, reason = HOSTILE[kind]
    mark = tmp_path / "owned"
    began = time.monotonic()
    answer = posted(server, "/models", make(mark), name="<b>x.pt", dataset="digits", method="scan")
    assert answer[0] == 400
    assert re.search(reason, read(answer[2]))
    assert "<b>" not in answer[2]
    assert str(home) not in answer[2]
    assert not mark.exists()
    assert time.monotonic() - began < 20
    assert list((home / "uploads").glob("*")) == []


@pytest.mark.parametrize(
    "words",
    [
        {"dataset": "imagenet", "method": "scan"},
        {"dataset": "digits trainer=gpu", "method": "scan"},
        {"dataset": "digits", "method": "scan", "model": "module"},
        {"dataset": "digits", "method": "scan", "model": "small_cnn,qa"},
        {"dataset": "digits", "method": "--config-dir=/tmp"},
        {"dataset": "digits"},
    ],
)
def test_only_the_offered_choices_are_accepted(server, home, words):
    status, _, text = posted(server, "/models", saved(weights()), **words)
    assert status == 400
    assert "cannot be chosen here" in read(text)
    assert list((home / "uploads").glob("*")) == []


def test_weights_that_announce_too_large_a_size_are_refused_before_the_upload(server):
    headers = {"Origin": f"http://localhost:{server.port}", "Content-Length": str(5 << 30)}
    status, _, text = asked(server, "/models", method="POST", body=b"", **headers)
    assert status == 413
    assert "more than the 4,294,967,296 bytes" in text


def commanded(tmp_path, script):
    file = tmp_path / "job.py"
    file.write_text(script)
    return Audits(tmp_path / "uploads", UploadChoices((sys.executable, str(file)), ("d",), (), ("m",)))


def is_running(process):
    try:
        os.kill(process, 0)
        return "zombie" not in Path(f"/proc/{process}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_one_audit_runs_at_a_time_and_its_child_processes_end_with_it(tmp_path):
    script = (
        "import pathlib, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"pathlib.Path({str(tmp_path / 'child')!r}).write_text(str(child.pid))\n"
        "print('\\x1b[31mworking', flush=True)\n"
        "time.sleep(600)\n"
    )
    audits = commanded(tmp_path, script)
    audit = audits.start(io.BytesIO(saved(weights())), "a.pt", "d", "", "m")
    end = time.monotonic() + 30
    while "working" not in audit.log:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert "\x1b" not in audit.log
    assert audit.exit_code is None
    with pytest.raises(ValueError, match="Another model is being audited"):
        audits.start(io.BytesIO(saved(weights())), "b.pt", "d", "", "m")
    audits.stop()
    assert audit.exit_code == -15
    child = int((tmp_path / "child").read_text())
    while is_running(child):
        assert time.monotonic() < end
        time.sleep(0.05)


class Slow(io.BytesIO):
    """A file whose reading blocks until `go_on` is set, as in a slow upload."""

    def __init__(self, content):
        super().__init__(content)
        self.reading, self.go_on = Event(), Event()

    def read(self, *size):
        self.reading.set()
        assert self.go_on.wait(30)
        return super().read(*size)


@pytest.mark.parametrize("content", [saved(weights()), b"hello"])
def test_no_other_audit_starts_while_an_upload_is_being_copied(tmp_path, content):
    audits = commanded(tmp_path, "")
    slow = Slow(content)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(audits.start, slow, "a.pt", "d", "", "m")
        assert slow.reading.wait(30)
        with pytest.raises(ValueError, match="Another model is being audited"):
            audits.check_free()
        with pytest.raises(ValueError, match="Another model is being audited"):
            audits.start(io.BytesIO(saved(weights())), "b.pt", "d", "", "m")
        slow.go_on.set()
        if content == b"hello":
            with pytest.raises(ValueError, match="is not a file of weights"):
                first.result()
        else:
            assert first.result().process.wait(30) == 0
    audits.check_free()
    assert audits.start(io.BytesIO(save(weights())), "c.pt", "d", "", "m").process.wait(30) == 0


def test_the_command_names_only_our_own_file_and_folder(tmp_path):
    audits = commanded(tmp_path, "import sys; print(sys.argv[1:])")
    audit = audits.start(io.BytesIO(save(weights())), "../../x.pt", "d", "", "m")
    audit.process.wait(30)
    words = audit.command[2:]
    assert words[:2] == ("dataset=d", "method=m")
    assert words[2] == f"checkpoint={audit.folder / 'model.safetensors'}"
    assert words[3] == f"hydra.run.dir={audit.folder / 'run'}"
    assert audit.exit_code == 0
    assert audit.folder.parent == tmp_path / "uploads"


@needs_chromium
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["safetensors", pytest.param("pt", marks=pytest.mark.optional)])
def test_an_uploaded_model_is_audited_and_its_run_listed(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / f"weights of mine.{kind}"
    file.write_bytes(save(weights()) if kind == "safetensors" else saved({"state_dict": weights()}))
    from playwright.sync_api import expect

    with serving(tmp_path / "my outputs") as server, opened(server) as tab:
        follow(tab, tab.get_by_role("link", name="Upload a model"))
        tab.get_by_label("Weights").set_input_files(file)
        tab.locator("select[name=dataset]").select_option("colored_digits")
        follow(tab, tab.get_by_role("button", name="Upload model"))
        assert tab.get_by_role("heading", level=1).inner_text() == file.name
        expect(tab.locator("#state")).not_to_have_text(re.compile("^Running"), timeout=120_000)
        assert tab.locator("#state").inner_text().startswith("Done."), tab.locator("#log").inner_text()
        assert (
            "checkpoint: given" in tab.locator("#log").inner_text()
            or "infer" in tab.locator("#log").inner_text()
        )
        follow(tab, tab.locator("#state a"))
        assert "colored_digits" in tab.locator("h1").inner_text()
        tab.goto(f"http://localhost:{server.port}/")
        assert tab.locator("tbody tr").count() == 1


@pytest.mark.slow
def test_an_audit_ends_with_the_server(tmp_path):
    words = ("port=0", "open=false", "words=[logger=none,trainer=cpu]")
    line = [sys.executable, str(ROOT / "browse.py"), *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    server = subprocess.Popen(line, cwd=tmp_path, env=quiet_environment(), start_new_session=True, **pipes)
    with ended_with([server]):
        told = server.stdout.readline()
        there = SimpleNamespace(port=int(re.search(r":(\d+)/", told)[1]))
        answer = posted(there, "/models", save(weights()), dataset="colored_digits", method="scan")
        assert answer[0] == 303, answer
        audits = running(str(tmp_path))
        assert len(audits) == 1
        server.send_signal(signal.SIGINT)
        _, errors = server.communicate(timeout=30)
        assert (server.returncode, errors) == (
            130,
            "interrupted (SIGINT); the same command starts it again\n",
        )
        assert running(str(tmp_path)) == []


def running(folder):
    """The processes whose command line names an upload in this folder."""
    lines = {}
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines[int(entry.parent.name)] = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
    return [process for process, line in lines.items() if f"checkpoint={folder}" in line]
