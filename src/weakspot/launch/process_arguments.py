"""The arguments and the environment that Hydra, the job and the job's child processes each see."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import read_write

from weakspot.launch.job_errors import FULL_ERROR


@contextmanager
def arguments_for_hydra(words: list[str]) -> Iterator[None]:
    """Let Hydra parse these words and raise its errors; by default it would print several lines around them."""
    before, full = list(sys.argv), os.environ.get(FULL_ERROR)
    sys.argv[1:], os.environ[FULL_ERROR] = words, "1"
    try:
        yield
    finally:
        sys.argv[:] = before
        _set_environment(FULL_ERROR, full)


@contextmanager
def arguments_as_typed(typed: list[str], full: str | None) -> Iterator[None]:
    """Restore the user's arguments and environment inside the job, whose child processes run the same line again."""
    before, inside = list(sys.argv), os.environ.get(FULL_ERROR)
    sys.argv[:] = typed
    _set_environment(FULL_ERROR, full)
    try:
        yield
    finally:
        sys.argv[:] = before
        _set_environment(FULL_ERROR, inside)


@contextmanager
def arguments_of_sweep_job() -> Iterator[None]:
    """Give Lightning's child processes the overrides and the folder of this job: in a sweep, they must run only it."""
    config: Any = HydraConfig.get()
    if config.mode != RunMode.MULTIRUN:
        yield
        return
    before, folder = list(sys.argv), config.run.dir
    sys.argv[1:] = [*config_folder_option(), *config.overrides.task]
    with read_write(config):
        config.run.dir = config.runtime.output_dir
    try:
        yield
    finally:
        sys.argv[:] = before
        with read_write(config):
            config.run.dir = folder


def config_folder_option() -> list[str]:
    """Return the current run's option that names an additional folder of configuration files, if it has one."""
    sources = HydraConfig.get().runtime.config_sources
    return [f"--config-dir={source.path}" for source in sources if source.provider == "command-line"]


def _set_environment(variable: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(variable, None)
    else:
        os.environ[variable] = value
