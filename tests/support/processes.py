"""Processes that tests start: the environment they get, and their end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


def quiet_environment() -> dict[str, str]:
    """This process's environment without variables that one test or launcher could pass on to another."""
    private = ("WANDB_", "WEAKSPOT_", "PL_", "LOCAL_RANK", "RANK", "WORLD_SIZE", "MASTER_", "HYDRA_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(private)}
    return kept | {"OMP_NUM_THREADS": "1", "COLUMNS": "120", "WANDB_API_KEY": "", "PYTHONWARNINGS": "default"}


@contextmanager
def ended_with(processes: list[subprocess.Popen[str]]) -> Iterator[None]:
    """Kill all processes when the block ends, whatever ends it."""
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
