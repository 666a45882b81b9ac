"""The message of an interrupted command."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
from unittest.mock import Mock

import pytest

from processes import quiet_environment
from weakspot import signals
from weakspot.launch.interruptions import end_workers, print_interruption


def test_the_message_is_that_of_the_last_command_in_the_process(monkeypatch, capsys):
    monkeypatch.setattr(signals, "has_saved_work", lambda: False)
    for workers, again in (([Mock(daemon=False)], "goes on from what is finished"), ([], "begins again")):
        monkeypatch.setattr(multiprocessing, "active_children", lambda workers=workers: workers)
        end_workers()
        print_interruption(signals.Interrupted(signal.SIGTERM), "train")
        assert capsys.readouterr().err == f"interrupted (SIGTERM); the same command {again}\n"


BETWEEN_RUNS = """
import os, signal, sys
from concurrent.futures import BrokenExecutor
import hydra.core.utils
from weakspot.commands import sweep_summary

def run_job(**_):
    {statement}

hydra.core.utils.run_job = run_job
sweep_summary.print_sweep_summary = lambda sweep: {table}
sys.argv[1:] = ["-m", "seed=1,2", "hydra.sweep.dir=swept"]
from weakspot.cli import discover
discover()
"""


@pytest.mark.parametrize(
    ("statement", "table", "code", "said"),
    [
        (  # as while Hydra composes the next run: half-made state then raises an error of its own
            "try: os.kill(os.getpid(), signal.SIGINT)\n    finally: None.x",
            "None.x",
            130,
            "interrupted (SIGINT); the same command begins again\n",
        ),
        (
            "raise BrokenExecutor('a worker was killed')",
            "None",
            1,
            "a process that ran this sweep was killed, perhaps for lack of memory: run fewer at once, "
            "hydra.launcher.n_jobs=1\n",
        ),
    ],
)
def test_an_error_between_the_runs_of_a_sweep_is_not_an_error_in_the_command(
    statement, table, code, said, tmp_path
):
    program = [sys.executable, "-c", BETWEEN_RUNS.format(statement=statement, table=table)]
    ended = subprocess.run(
        program, cwd=tmp_path, env=quiet_environment(), capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (code, said)
