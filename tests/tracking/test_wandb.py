"""W&B: without a network, a run goes on offline; what W&B rejects is reported before anything is made."""

from __future__ import annotations

import json
import logging
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paths import ROOT
from processes import quiet_environment
from shell import Shell
from wandb_files import answered_by
from weakspot.tracking.loggers import close, wandb_logger

KEY = "0123456789abcdef" * 2 + "01234567"


def write_predictions(folder: Path) -> None:
    draw = np.random.default_rng(0)
    np.savez(folder / "my.npz", embeddings=draw.normal(size=(60, 3)), losses=draw.random(60))


def nowhere() -> str:
    """The address of a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def silence() -> Iterator[str]:
    """The address of a server that accepts connections but never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def answering(viewer: dict[str, Any] | None) -> Iterator[str]:
    """The address of a W&B server that knows `viewer` (None: nobody) and refuses everything else."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            known = viewer is not None and b"query Viewer" in asked
            answer = {"data": {"viewer": viewer}} if known else {"errors": [{"message": "permission denied"}]}
            body = json.dumps(answer).encode()
            self.send_response(200 if known else 401 if viewer is None else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None: ...

    with answered_by(Handler) as address:
        yield address


@pytest.fixture
def logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """An environment with a W&B key, but without settings of this machine or state of an earlier test."""
    import wandb

    monkeypatch.delenv("WANDB_MODE", raising=False)
    for name in ("WANDB_DATA_DIR", "WANDB_SILENT"):
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    wandb.teardown()
    yield monkeypatch
    wandb.teardown()


def is_offline_run(folder: Path) -> bool:
    (run,) = folder.glob("wandb/*run-*/run-*.wandb")
    return run.stat().st_size > 0 and run.parent.name.startswith("offline-run-")


@pytest.mark.slow
def test_the_default_run_without_a_network_goes_on_offline(shell: Shell) -> None:
    said = shell("discover", "training.epochs=1", WANDB_API_KEY=KEY, WANDB_BASE_URL=(address := nowhere()))
    assert said.count(f"W&B: {address} does not answer; this run is logged offline") == 1
    (report,) = shell.reports()
    assert is_offline_run(report.parent)
    files = (report.parent / "wandb" / "offline-run-").relative_to(shell.folder)
    assert f"W&B is offline; send the run with: wandb sync {files}" in said


@pytest.mark.slow
def test_a_server_that_never_answers_costs_only_seconds(shell: Shell) -> None:
    write_predictions(shell.folder)
    with silence() as address:
        said = shell("discover", "predictions=my.npz", WANDB_API_KEY=KEY, WANDB_BASE_URL=address)
    assert f"W&B: {address} does not answer; this run is logged offline" in said
    assert is_offline_run(shell.reports()[0].parent)


def test_a_silent_server_is_waited_for_five_seconds(
    logged_in: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with silence() as address:
        logged_in.setenv("WANDB_BASE_URL", address)
        begin = time.time()
        close(wandb_logger(tmp_path, "discover", {}))
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert f"{address} does not answer" in record.message
    assert 4 < record.created - begin < 15  # five seconds, and what a busy machine adds
    assert is_offline_run(tmp_path)


@pytest.mark.parametrize("mode", ["", "online"])
def test_with_an_unknown_key_the_run_is_logged_offline(
    mode: str, logged_in: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if mode:
        logged_in.setenv("WANDB_MODE", mode)
    with answering(None) as address:
        logged_in.setenv("WANDB_BASE_URL", address)
        close(wandb_logger(tmp_path, "discover", {}))
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "permission denied; this run is logged offline, and `wandb sync` sends it later" in record.message
    assert is_offline_run(tmp_path)


def test_with_a_malformed_key_the_run_is_logged_offline(
    logged_in: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logged_in.setenv("WANDB_API_KEY", "abc")
    close(wandb_logger(tmp_path, "discover", {}))
    assert "WANDB_API_KEY invalid: API key must have 40+ characters, has 3; this run is" in caplog.text
    assert is_offline_run(tmp_path)


def test_without_a_login_the_run_is_offline_without_a_warning(
    logged_in: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logged_in.setenv("WANDB_API_KEY", "")
    close(wandb_logger(tmp_path, "discover", {}))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert is_offline_run(tmp_path)


TYPED = [
    ({}, "logger.project=a/b", "Invalid project name 'a/b': cannot contain characters .* logger.entity"),
    ({}, "logger.project=[a]", r"logger.project must be a string, not \[a\]"),
    ({}, "logger.tags=['']", "logger.tags=.* is rejected by W&B: Tag at index 0 is empty"),
    ({}, "fail_if.accuracy_below=2", "fail_if.accuracy_below=2 must be a share above 0 and at most 1"),
    (
        {"WANDB_MODE": "offlin"},
        "",
        "WANDB_MODE=offlin is rejected by W&B: Input should be 'online', 'offline', ",
    ),
    ({"WANDB_BASE_URL": "a.b"}, "", "WANDB_BASE_URL=a.b is rejected by W&B: Input should be a valid URL"),
    ({"WANDB_MODE": "online"}, "", "WANDB_MODE=online, but nobody is logged in: run `wandb login`"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("environment", "word", "sentence"), TYPED, ids=[str(row[:2]) for row in TYPED])
def test_invalid_settings_are_reported_before_anything_is_made(
    environment: dict[str, str], word: str, sentence: str, tmp_path: Path
) -> None:
    write_predictions(tmp_path)
    code, said = typed(tmp_path, *filter(None, [word]), **environment)
    assert code == 2, said
    assert re.match(sentence, said.splitlines()[-1]), said
    assert "Traceback" not in said
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_a_run_that_the_server_refuses_is_reported_before_anything_is_made(tmp_path: Path) -> None:
    """Logged in, but not allowed to write there: known only when W&B opens the run."""
    viewer = {
        "id": "1",
        "entity": "me",
        "username": "me",
        "email": "me@me",
        "flags": "{}",
        "teams": {"edges": []},
    }
    write_predictions(tmp_path)
    with answering(viewer) as address:
        code, said = typed(tmp_path, WANDB_API_KEY=KEY, WANDB_BASE_URL=address)
    last = said.splitlines()[-1]
    assert code == 2, said
    assert last.startswith("W&B cannot open a run (")
    assert "permission denied" in last
    assert last.endswith("set WANDB_MODE=offline or logger=none")
    assert not (tmp_path / "outputs").exists()


def typed(folder: Path, *words: str, **environment: str) -> tuple[int, str]:
    """The exit code and all output of `discover.py predictions=my.npz words…`."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "discover.py"), "predictions=my.npz", *words],
        cwd=folder,
        env=quiet_environment() | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout + done.stderr
