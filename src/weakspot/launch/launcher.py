"""The launcher, which composes a command line's configuration and runs the job, once or for each point of a sweep."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from weakspot import plugins, signals
from weakspot.config.choices import CONFIGS
from weakspot.config.compose import register
from weakspot.launch.choice_files import check_chosen_files
from weakspot.launch.interruptions import (
    end_workers,
    ending_with_launcher,
    errors_as_interruption,
    print_interruption,
)
from weakspot.launch.job_errors import FULL_ERROR, JobError, UserError, errors_as_sentences
from weakspot.launch.options import CommandLine, read_command_line
from weakspot.launch.process_arguments import arguments_as_typed, arguments_for_hydra, arguments_of_sweep_job
from weakspot.launch.quoting import quote_for_hydra
from weakspot.launch.run_folders import run_folder
from weakspot.launch.setting_checks import check_choices, check_settings, check_values
from weakspot.launch.setting_errors import explain_line, line_of_first_run
from weakspot.launch.sweeps import Sweep, launched_sweeps, summarising_sweeps
from weakspot.legible import printable_lines

log = logging.getLogger(__name__)


def run(
    name: str,
    job: Callable[[DictConfig, Path], float | None],
    summarise_sweep: Callable[[Sweep], None] | None = None,
) -> None:
    """Compose the configuration and run `job` once, or once for each point of a sweep.

    Args:
        name: The name of the configuration, such as "discover".
        job: The function that runs with the configuration and the run's folder. A sweeper that searches
            (`hydra/sweeper=optuna`) minimises its value.
        summarise_sweep: Shows what the runs of a sweep found.
    """
    _set_up_process()
    register()
    typed, full = list(sys.argv), os.environ.get(FULL_ERROR)
    begun = False

    def task(cfg: DictConfig) -> float | None:
        nonlocal begun
        begun = True
        with (
            ending_with_launcher(),
            arguments_as_typed(typed, full),
            errors_as_sentences(name),
            errors_as_interruption(name),
            arguments_of_sweep_job(),
        ):
            check_choices(HydraConfig.get().runtime.choices)
            check_settings(cfg, HydraConfig.get().overrides.task)
            return _start(job, cfg)

    try:
        line = read_command_line(name, typed[1:])
        check_values(line.settings, line.is_sweep)
        check_chosen_files(line)
    except ValueError as error:
        print(printable_lines(str(error)), file=sys.stderr)
        raise SystemExit(2) from None
    line = line._replace(settings=quote_for_hydra(line.settings, line.is_sweep))
    if line.is_sweep and line.only_shows:
        line = line_of_first_run(line)
    with (
        signals.quiet_on_broken_pipe(),
        signals.interruptible(lambda interrupted: print_interruption(interrupted, name)),
        signals.on_interruption(end_workers),
        _sentences_printed(name, line, full, lambda: begun),
        signals.interruption_replacing_errors(),  # also over the table's, after an interrupted import
        summarising_sweeps(summarise_sweep),
        arguments_for_hydra([*line.options, *line.settings]),
    ):
        hydra.main(config_path=str(CONFIGS), config_name=name, version_base="1.3")(task)()
        if any(sweep.planned == [] for sweep in launched_sweeps):
            raise UserError("there is nothing to run, because a range or a glob in this command is empty", 2)


def _set_up_process() -> None:
    """Set up threads, garbage collection and logging, before libraries are loaded."""
    # torch's waiting threads must sleep: spinning ones make small models several times slower if another process uses
    # the same cores
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # OpenBLAS' threads (NumPy's and SciPy's) must sleep soon: by default they spin for 2^26 cycles, 25 ms, after each
    # product
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")
    # young objects are collected less often than by default, and all objects rarely: half a dozen full collections
    # while libraries load took a tenth of the time of a run that infers nothing
    gc.set_threshold(2000, 10, 50)
    # on a full disk the log file cannot be written either, and a traceback for each of its lines would not help
    logging.raiseExceptions = False


def _start(job: Callable[[DictConfig, Path], float | None], cfg: DictConfig) -> float | None:
    """Run the job; unless it has no trainer, as in `browse.py`, libraries are loaded first, which takes seconds."""
    if "trainer" not in cfg:
        return job(cfg, run_folder())
    plugins.make_working_directory_importable()
    from weakspot.pipeline.processes import is_main_process, job_processes

    if is_main_process():
        log.info("loading libraries …")
    with job_processes(cfg.trainer.accelerator):
        return job(cfg, run_folder())


@contextmanager
def _sentences_printed(
    name: str, line: CommandLine, full: str | None, begun: Callable[[], bool]
) -> Iterator[None]:
    """Print the sentence for the error that ended the command, and exit with its code.

    Args:
        name: The configuration, such as "discover".
        line: The command line.
        full: Whether errors are raised as they are ("1").
        begun: Whether a job has begun: from then on, an error that has no sentence yet and is not Hydra's is a bug.
    """
    try:
        yield
    except signals.Interrupted as interrupted:
        print_interruption(interrupted, name)
        raise
    except UserError as error:
        print(printable_lines(error.sentence), file=sys.stderr)
        raise
    except JobError as error:
        from weakspot.pipeline.processes import is_main_process

        is_below_table = is_main_process() and any(sweep.has_begun() for sweep in launched_sweeps)
        if not is_below_table:
            print(printable_lines(str(error)), file=sys.stderr, flush=True)
        raise SystemExit(error.code) from None
    except BrokenPipeError:
        raise
    except BrokenExecutor as error:
        if full == "1":
            raise
        print(
            "a process that ran this sweep was killed, perhaps for lack of memory: run fewer at once, "
            "hydra.launcher.n_jobs=1",
            file=sys.stderr,
            flush=True,
        )
        raise SystemExit(1) from error
    except Exception as error:
        is_command_line_error = not begun() or isinstance(error, HydraException | OmegaConfBaseException)
        # inside a run, a system error has a sentence
        is_between_runs = isinstance(error, OSError) and not is_command_line_error
        sentence = (
            explain_line(name, error, line)
            if full != "1" and (is_command_line_error or is_between_runs)
            else None
        )
        if sentence is None:
            raise
        print(printable_lines(sentence), file=sys.stderr, flush=True)
        raise SystemExit(1 if is_between_runs else 2) from None
