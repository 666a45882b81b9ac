"""Hydra callbacks that run before it makes a folder, and before and after each job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from weakspot.launch.job_errors import UserError
from weakspot.launch.run_folders import record_existing_path
from weakspot.launch.setting_checks import check_settings
from weakspot.launch.setting_errors import is_swept
from weakspot.launch.sweep_results import RESULT, write_result
from weakspot.launch.sweeps import launched_sweeps, sweep_to_launch, unresolved_words


class LaunchCallback(Callback):
    """Records which folders exist before a run or a sweep, and makes sure that each run of a sweep leaves a result.

    Hydra creates one from the configuration's callbacks in each process that runs jobs.
    """

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Record which folders exist before the run."""
        with _resolving(config):
            record_existing_path(Path(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Record the sweep and which folders exist before it; end it if settings that all its runs share are invalid.

        Hydra ignores errors in a callback, but not a SystemExit such as `UserError`.
        """
        with _resolving(config):
            record_existing_path(Path(config.hydra.sweep.dir))
            launched_sweeps.append(sweep_to_launch(config))
            settings = deepcopy(config)
            with open_dict(settings):
                del settings["hydra"]
            shared = [word for word in unresolved_words(config.hydra.overrides.task) if not is_swept(word)]
            try:
                check_settings(settings, shared)
            except ValueError as error:
                raise UserError(str(error), 2) from error

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Remove the result that a run of an earlier sweep has left in this run's folder."""
        if config.hydra.mode == RunMode.MULTIRUN:
            Path(config.hydra.runtime.output_dir, RESULT).unlink(missing_ok=True)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Make sure that a run that ended well has a result, and that a failed one is reported only once."""
        folder = Path(config.hydra.runtime.output_dir)
        if job_return.status == JobStatus.FAILED:
            job_return.__class__ = _FailedJob
        elif not (folder / RESULT).exists():
            write_result(folder, {})


@contextmanager
def _resolving(config: DictConfig) -> Iterator[None]:
    """Let a folder's name refer to Hydra's configuration; if that fails, Hydra raises its own error a little later."""
    HydraConfig.instance().set_config(config)
    with suppress(OmegaConfBaseException):
        yield


class _FailedJob(JobReturn):
    """The result of a failed job, which raises the job's error without the line that Hydra's own class prints first."""

    @property  # type: ignore[misc]
    def return_value(self) -> Any:
        raise self._return_value
