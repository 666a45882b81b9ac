"""What is said of a command that was interrupted."""

from __future__ import annotations

import multiprocessing
import signal
from unittest.mock import Mock

from weakspot import signals
from weakspot.launch.interruptions import end_workers, print_interruption


def test_what_is_said_is_of_the_last_command_of_the_process(monkeypatch, capsys):
    monkeypatch.setattr(signals, "is_work_kept", lambda: False)
    for workers, again in (([Mock(daemon=False)], "goes on from what is finished"), ([], "begins again")):
        monkeypatch.setattr(multiprocessing, "active_children", lambda workers=workers: workers)
        end_workers()
        print_interruption(signals.Interrupted(signal.SIGTERM), "train")
        assert capsys.readouterr().err == f"interrupted (SIGTERM); the same command {again}\n"
