"""The launcher, which composes a command line's configuration and runs the job, once or for each point of a sweep."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, read_write
from omegaconf.errors import OmegaConfBaseException

from weakspot import plugins, signals
from weakspot.config.choices import CONFIGS
from weakspot.config.compose import register
from weakspot.launch.job_errors import (
    FULL_ERROR,
    JobError,
    UserError,
    errors_as_sentences,
    explain_run_folder,
    log_traceback,
)
from weakspot.launch.options import CommandLine, read_command_line
from weakspot.launch.quoting import quote_for_hydra
from weakspot.launch.run_folders import has_begun, remove_empty_run, run_folder
from weakspot.launch.setting_checks import check_choices, check_settings
from weakspot.launch.setting_errors import explain_line
from weakspot.launch.sweeps import INTERRUPTED, Sweep, summarised, write_end
from weakspot.legible import printable_lines

log = logging.getLogger(__name__)

_jobs_elsewhere = False  # whether an interruption has ended jobs of a sweep in other processes


def run(
    name: str,
    job: Callable[[DictConfig, Path], float | None],
    summarise_sweep: Callable[[Sweep], None] | None = None,
) -> None:
    """Compose the configuration and run `job` once, or once for each point of a sweep.

    Args:
        name: The name of the configuration, such as "discover".
        job: The function that runs with the configuration and the run's folder. Its value is minimised by a sweeper
            that searches (`hydra/sweeper=optuna`).
        summarise_sweep: Shows what the runs of a sweep found.
    """
    # torch's waiting threads must sleep: spinning ones make small models several times slower wherever another process
    # wants the same cores
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # OpenBLAS' threads (NumPy's and SciPy's) must sleep soon: by default they spin for 2^26 cycles, 25 ms, after each
    # product
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")
    # young objects are collected less often than by default, and all objects rarely: half a dozen full collections
    # while libraries load were a tenth of the time of a run that infers nothing
    gc.set_threshold(2000, 10, 50)
    # on a full disk the log file cannot be written either, and a traceback for each of its lines would not help
    logging.raiseExceptions = False
    register()
    typed, full = list(sys.argv), os.environ.get(FULL_ERROR)

    def task(cfg: DictConfig) -> float | None:
        with (
            _ending_with_launcher(),
            _arguments_as_typed(typed, full),
            errors_as_sentences(name),
            _errors_as_interruption(name),
            _own_arguments(),
        ):
            check_choices(HydraConfig.get().runtime.choices)
            check_settings(cfg, HydraConfig.get().overrides.task)
            if "trainer" not in cfg:
                return job(cfg, run_folder())
            plugins.make_working_directory_importable()
            from weakspot.pipeline.processes import is_main_process, job_processes

            if is_main_process():
                log.info("loading libraries …")
            with job_processes(cfg.trainer.accelerator):
                return job(cfg, run_folder())

    try:
        line = read_command_line(name, typed[1:])
    except ValueError as error:
        print(printable_lines(str(error)), file=sys.stderr)
        raise SystemExit(2) from None
    line = line._replace(settings=quote_for_hydra(line.settings, line.is_sweep))
    with (
        _ending_with_reader(),
        signals.interruptible(lambda interrupted: _print_interruption(interrupted, name)),
        signals.on_interruption(_end_workers),
        summarised(summarise_sweep),
        _sentences_printed(name, line, full),
        _without_hydra_frame([*line.options, *line.settings]),
    ):
        hydra.main(config_path=str(CONFIGS), config_name=name, version_base="1.3")(task)()


@contextmanager
def _ending_with_reader() -> Iterator[None]:
    """End the process quietly once whoever reads what is printed, such as head, has read enough."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is flushed at the end
        raise SystemExit(128 + signal.SIGPIPE) from None


@contextmanager
def _sentences_printed(name: str, line: CommandLine, full: str | None) -> Iterator[None]:
    """Print the sentence for what has ended the command, and end it with the exit code for that."""
    try:
        yield
    except signals.Interrupted as interrupted:
        _print_interruption(interrupted, name)
        raise
    except UserError as error:
        print(printable_lines(error.sentence), file=sys.stderr)
        raise
    except BrokenPipeError:
        raise
    except (HydraException, OmegaConfBaseException, OSError, ValueError) as error:
        if full == "1":
            raise
        if isinstance(error, JobError):
            sentence, code = str(error), error.code
        elif isinstance(error, OSError) and not isinstance(error, HydraException):
            setting = "hydra.sweep.dir" if line.is_sweep else "hydra.run.dir"
            sentence, code = explain_run_folder(error, setting), 2
        else:
            sentence, code = explain_line(name, error, line), 2
        print(printable_lines(sentence), file=sys.stderr, flush=True)
        raise SystemExit(code) from None


@contextmanager
def _without_hydra_frame(words: list[str]) -> Iterator[None]:
    """Let Hydra parse these words and raise its errors: by itself it would print several lines around them."""
    before, full = list(sys.argv), os.environ.get(FULL_ERROR)
    sys.argv[1:], os.environ[FULL_ERROR] = words, "1"
    try:
        yield
    finally:
        sys.argv[:] = before
        _set_environment(FULL_ERROR, full)


@contextmanager
def _arguments_as_typed(typed: list[str], full: str | None) -> Iterator[None]:
    """Restore the user's arguments and environment inside the job, whose child processes run the same line again."""
    before, inside = list(sys.argv), os.environ.get(FULL_ERROR)
    sys.argv[:] = typed
    _set_environment(FULL_ERROR, full)
    try:
        yield
    finally:
        sys.argv[:] = before
        _set_environment(FULL_ERROR, inside)


def _set_environment(variable: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(variable, None)
    else:
        os.environ[variable] = value


@contextmanager
def _errors_as_interruption(name: str) -> Iterator[None]:
    """Turn any error after a signal into the interruption: connections and workers break down with it."""
    try:
        yield
    except BaseException as error:
        interrupted = signals.interruption()
        if interrupted is None:
            raise
        if has_begun():
            log_traceback(error)
            write_end(INTERRUPTED, interrupted.name)
        else:
            remove_empty_run(run_folder(), f"{name}.log")
        raise interrupted from None


@contextmanager
def _ending_with_launcher() -> Iterator[None]:
    """End the process of a sweep's launcher with its interrupted job; it would wait for another job otherwise."""
    if signals.handles_signals():
        yield
        return
    with signals.interruptible():
        try:
            yield
        except signals.Interrupted as interrupted:
            logging.shutdown()
            os._exit(interrupted.code)


def _end_workers() -> None:
    """End the jobs of a sweep that run in other processes: its launcher would kill them while they save their work."""
    global _jobs_elsewhere
    workers = [child for child in multiprocessing.active_children() if not child.daemon]
    _jobs_elsewhere = _jobs_elsewhere or bool(workers)
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join(signals.GRACE)


def _print_interruption(interrupted: signals.Interrupted, name: str) -> None:
    from weakspot.pipeline.processes import is_main_process

    again = "starts it again" if name == "browse" else "begins again"
    if _jobs_elsewhere or signals.is_work_kept():  # what jobs in other processes have kept is not known here
        goes_on = {"discover": "searches again, and goes on from what is trained and inferred"}
        again = goes_on.get(name, "goes on from what is finished")
    if is_main_process():
        print(f"interrupted ({interrupted.name}); the same command {again}", file=sys.stderr, flush=True)


@contextmanager
def _own_arguments() -> Iterator[None]:
    """Give Lightning's child processes the overrides and the folder of this job: in a sweep they must run it alone."""
    config: Any = HydraConfig.get()
    if config.mode != RunMode.MULTIRUN:
        yield
        return
    before = sys.argv
    sys.argv = [before[0], *config.overrides.task]
    with read_write(config):
        config.run.dir = config.runtime.output_dir
    try:
        yield
    finally:
        sys.argv = before
