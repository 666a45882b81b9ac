"""Uploaded models: each file is checked, and a `discover.py` process audits it."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import IO

from weakspot.legible import printable_lines
from weakspot.models.checkpoint import read_weights
from weakspot.predictions.atomic_files import atomic_file, writing

_LOG_TAIL = 16_000  # bytes of a log that are shown
_STOP_TIMEOUT = 2.0  # seconds that a stopped command has to end by itself
_BUSY = "Another model is being audited: wait until that has ended, or stop it."


@dataclass(frozen=True)
class UploadChoices:
    """What may be chosen for an uploaded model, and the command that audits it.

    Attributes:
        command: The command line of `discover.py`, without settings.
        datasets: The names of datasets.
        models: The names of models.
        methods: The names of methods.
        extra_words: Settings that are added to every command, given when the server starts; no page can change them.
    """

    command: tuple[str, ...]
    datasets: tuple[str, ...]
    models: tuple[str, ...]
    methods: tuple[str, ...]
    extra_words: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Audit:
    """One command that audits, or has audited, an uploaded model.

    Attributes:
        name: The name of the uploaded file, made printable.
        folder: The folder of the file, the log and the run.
        command: The command line that was run.
        process: The process that runs it.
    """

    name: str
    folder: Path
    command: tuple[str, ...]
    process: subprocess.Popen[bytes]

    @property
    def digest(self) -> str:
        """The name of its folder, by which URLs refer to it."""
        return self.folder.name

    @property
    def run(self) -> Path:
        """The folder of the run."""
        return self.folder / "run"

    @property
    def exit_code(self) -> int | None:
        """The exit code of the process; None while it runs."""
        return self.process.poll()

    @property
    def log(self) -> str:
        """The end of the command's output."""
        with (self.folder / "log.txt").open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(file.tell() - _LOG_TAIL, 0))
            return printable_lines(file.read().decode(errors="replace").replace("\r", "\n"))

    def stop(self) -> None:
        """End the process and all processes that it has started."""
        for signum in (signal.SIGTERM, signal.SIGKILL):
            if self.exit_code is not None:
                return
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signum)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_STOP_TIMEOUT)


class Audits:
    """Runs the audits of one server, one at a time.

    Args:
        home: The folder of uploads and their runs.
        choices: What may be chosen for an upload.
    """

    def __init__(self, home: Path, choices: UploadChoices) -> None:
        self.choices = choices
        self.started: dict[str, Audit] = {}
        self._home = home
        self._starting = Lock()  # held while gigabytes are copied and checked, before there is a process

    def check_free(self) -> None:
        """Check that no audit is running or being started.

        Raises:
            ValueError: If one is.
        """
        if self._starting.locked() or self.is_running:
            raise ValueError(_BUSY)

    def start(self, content: IO[bytes], name: str, dataset: str, model: str, method: str) -> Audit:
        """Check an uploaded file and what was chosen for it, and start its audit.

        Args:
            content: The file's content.
            name: The file's name, made printable; it is only shown, and never used as a path.
            dataset: The name of a dataset.
            model: The name of a model, or "" for the dataset's own.
            method: The name of a method.

        Returns:
            The running audit.

        Raises:
            ValueError: If another audit is running, a name is unknown, or the file holds no weights, or more than
                weights.
            OSError: If the file cannot be written.
        """
        if not self._starting.acquire(blocking=False):
            raise ValueError(_BUSY)
        try:
            if self.is_running:
                raise ValueError(_BUSY)
            return self._start(content, name, dataset, model, method)
        finally:
            self._starting.release()

    def stop(self) -> None:
        """End every running audit."""
        for audit in list(self.started.values()):
            audit.stop()

    @property
    def is_running(self) -> bool:
        """Whether an audit is running."""
        return any(audit.exit_code is None for audit in list(self.started.values()))

    def _start(self, content: IO[bytes], name: str, dataset: str, model: str, method: str) -> Audit:
        known = {
            "dataset": self.choices.datasets,
            "model": ("", *self.choices.models),
            "method": self.choices.methods,
        }
        chosen = {"dataset": dataset, "model": model, "method": method}
        for key, word in chosen.items():
            if word not in known[key]:
                raise ValueError(f"{key}={word[:100]} cannot be chosen here")
        folder = self._home / secrets.token_hex(8)
        with writing(self._home, "folders"):
            folder.mkdir(parents=True)
        try:
            weights = _store_weights(content, folder, name)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        words = [f"{key}={word}" for key, word in chosen.items() if word]
        command = (
            *self.choices.command,
            *words,
            *self.choices.extra_words,
            f"checkpoint={weights.absolute()}",
            f"hydra.run.dir={(folder / 'run').absolute()}",
        )
        with (folder / "log.txt").open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        audit = self.started[folder.name] = Audit(name, folder, command, process)
        return audit


def _store_weights(content: IO[bytes], folder: Path, name: str) -> Path:
    """Write an uploaded file under a name of our own, and check that it holds weights."""
    head = content.read(9)
    content.seek(0)
    suffix = "safetensors" if head[8:] == b"{" else "pt"
    file = folder / f"model.{suffix}"
    with writing(folder, "folders"), atomic_file(file) as draft, draft.open("wb") as target:
        shutil.copyfileobj(content, target, 1 << 20)
    try:
        read_weights(file)
    except ValueError as error:
        raise ValueError(str(error).replace(str(file), name)) from error
    return file
