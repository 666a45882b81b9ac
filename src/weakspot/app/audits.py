"""Models that are uploaded: their file is checked, and a command of ours audits them as a process of its own."""

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

_TAIL = 16_000  # bytes of a log that are shown
_PATIENCE = 2.0  # seconds in which a command that is stopped is to end by itself
_TAKEN = "Another model is being audited: wait until that has ended, or stop it."


@dataclass(frozen=True)
class Words:
    """What may be chosen for an uploaded model, and the command that audits it.

    Attributes:
        command: Of `discover.py`.
        datasets, models, methods: The words that there are.
        more: Words for every command, by whoever started the server; no page says any.
    """

    command: tuple[str, ...]
    datasets: tuple[str, ...]
    models: tuple[str, ...]
    methods: tuple[str, ...]
    more: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Audit:
    """One command that audits, or has audited, an uploaded model.

    Attributes:
        name: Of the file that was uploaded, as it can be shown.
        folder: Of the file, the log and the run.
        line: What was run.
        process: It.
    """

    name: str
    folder: Path
    line: tuple[str, ...]
    process: subprocess.Popen[bytes]

    @property
    def digest(self) -> str:
        return self.folder.name

    @property
    def run(self) -> Path:
        """The folder of the run."""
        return self.folder / "run"

    @property
    def code(self) -> int | None:
        """With what it ended; None while it runs."""
        return self.process.poll()

    @property
    def log(self) -> str:
        """The end of what it has said."""
        with (self.folder / "log.txt").open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(file.tell() - _TAIL, 0))
            return printable_lines(file.read().decode(errors="replace").replace("\r", "\n"))

    def stop(self) -> None:
        """End it, with all that it has started."""
        for signum in (signal.SIGTERM, signal.SIGKILL):
            if self.code is not None:
                return
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signum)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_PATIENCE)


class Audits:
    """The audits of one server: one at a time.

    Args:
        home: Where uploads and their runs are kept.
        words: What may be chosen.
    """

    def __init__(self, home: Path, words: Words) -> None:
        self.words = words
        self.started: dict[str, Audit] = {}
        self._home = home
        self._starting = Lock()  # gigabytes are copied and checked before there is a process

    def check_free(self) -> None:
        """Raise ValueError while one is being started or runs."""
        if self._starting.locked() or self._is_running:
            raise ValueError(_TAKEN)

    def start(self, content: IO[bytes], name: str, dataset: str, model: str, method: str) -> Audit:
        """Check an uploaded file and the words chosen for it, and start its audit.

        Args:
            content: Of the file.
            name: What it is called, as it can be shown; nothing is written there.
            dataset, method: Words.
            model: A word, or "" for the dataset's own.

        Raises:
            ValueError: Where one runs already, a word is unknown, or the file holds no weights or more than those.
            OSError: Where the disk is full or refuses.
        """
        if not self._starting.acquire(blocking=False):
            raise ValueError(_TAKEN)
        try:
            if self._is_running:
                raise ValueError(_TAKEN)
            return self._start(content, name, dataset, model, method)
        finally:
            self._starting.release()

    def stop(self) -> None:
        """End whatever runs."""
        for audit in list(self.started.values()):
            audit.stop()

    @property
    def _is_running(self) -> bool:
        return any(audit.code is None for audit in list(self.started.values()))

    def _start(self, content: IO[bytes], name: str, dataset: str, model: str, method: str) -> Audit:
        known = {
            "dataset": self.words.datasets,
            "model": ("", *self.words.models),
            "method": self.words.methods,
        }
        said = {"dataset": dataset, "model": model, "method": method}
        for key, word in said.items():
            if word not in known[key]:
                raise ValueError(f"{key}={word[:100]} is none of those that can be chosen here")
        folder = self._home / secrets.token_hex(8)
        with writing(self._home, "folders"):
            folder.mkdir(parents=True)
        try:
            weights = _stored(content, folder, name)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        words = [f"{key}={word}" for key, word in said.items() if word]
        line = (
            *self.words.command,
            *words,
            *self.words.more,
            f"checkpoint={weights.absolute()}",
            f"hydra.run.dir={(folder / 'run').absolute()}",
        )
        with (folder / "log.txt").open("wb") as log:
            process = subprocess.Popen(
                line, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        audit = self.started[folder.name] = Audit(name, folder, line, process)
        return audit


def _stored(content: IO[bytes], folder: Path, name: str) -> Path:
    """The uploaded weights under a name of ours, once they are known to be weights."""
    head = content.read(9)
    content.seek(0)
    kind = "safetensors" if head[8:] == b"{" else "pt"
    file = folder / f"model.{kind}"
    with writing(folder, "folders"), atomic_file(file) as draft, draft.open("wb") as written:
        shutil.copyfileobj(content, written, 1 << 20)
    try:
        read_weights(file)
    except ValueError as error:
        raise ValueError(str(error).replace(str(file), name)) from error
    return file
