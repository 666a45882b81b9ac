"""The launcher, which composes a command line's configuration, runs the job, and turns any error into a sentence."""

from __future__ import annotations

import errno
import gc
import logging
import multiprocessing
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException, HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from weakspot import overrides, plugins, signals
from weakspot.config import CONFIGS, register
from weakspot.legible import printable_lines

log = logging.getLogger(__name__)

CONFIG = "config.yaml"
"""The file that every run's folder holds once the run has begun."""

_FULL_ERROR = "HYDRA_FULL_ERROR"

_jobs_elsewhere = False  # whether an interruption has ended jobs of a sweep in other processes


class UserError(SystemExit):
    """Ends the process with a sentence for the user and an exit code.

    The code is 1 where a run broke down, 2 where the command line was at fault, before anything was made, and 3 where a
    run found what it was asked to fail for.
    """

    def __init__(self, sentence: str, code: int = 1) -> None:
        super().__init__(code)
        self.sentence = sentence


class JobError(CompactHydraException):
    """Ends a job of a sweep in the same way, while other jobs go on; Hydra prints before it which job it was."""

    def __init__(self, sentence: str, code: int = 1) -> None:
        super().__init__(sentence)
        self.code = code


class Sweep(NamedTuple):
    """Tells a sweep's runs from those that earlier sweeps left in the same folder.

    Attributes:
        folder: Its folder.
        before: The files that lay there when it began, and when each was written, in nanoseconds.
    """

    folder: Path
    before: Mapping[Path, int]

    def has_written(self, file: Path) -> bool:
        """Return whether a file is there and was not before, or has been written since."""
        return file.is_file() and self.before.get(file) != file.stat().st_mtime_ns


class SweepFolder(Callback):
    """Notes the folders of sweeps that this process launches; Hydra makes one by the configuration's callbacks."""

    noted: ClassVar[list[Sweep]] = []

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        before = {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}
        SweepFolder.noted.append(Sweep(folder, before))


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
    typed, full = list(sys.argv), os.environ.get(_FULL_ERROR)

    def task(cfg: DictConfig) -> float | None:
        with (
            _ending_with_launcher(),
            _arguments_as_typed(typed, full),
            _errors_as_sentences(name),
            _own_arguments(),
        ):
            overrides.check_choices(HydraConfig.get().runtime.choices)
            overrides.check_settings(cfg, HydraConfig.get().overrides.task)
            if "trainer" not in cfg:
                return job(cfg, run_folder())
            plugins.make_working_directory_importable()
            from weakspot.pipeline.processes import is_main_process, job_processes

            if is_main_process():
                log.info("loading libraries …")
            with job_processes(cfg.trainer.accelerator):
                return job(cfg, run_folder())

    try:
        with (
            signals.interruptible(lambda interrupted: _print_interruption(interrupted, name)),
            signals.on_interruption(_end_workers),
            _summarised(summarise_sweep),
            # options first: argparse reads no more words after one that stands among them
            _without_hydra_frame(sorted(overrides.quote_for_hydra(typed[1:]), key=_is_settings_word)),
        ):
            hydra.main(config_path=str(CONFIGS), config_name=name, version_base="1.3")(task)()
    except signals.Interrupted as interrupted:
        _print_interruption(interrupted, name)
        raise
    except UserError as error:
        print(printable_lines(error.sentence), file=sys.stderr)
        raise
    except BrokenPipeError:  # whoever read what is printed, such as head, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is flushed at the end
        raise SystemExit(128 + signal.SIGPIPE) from None
    except (HydraException, OmegaConfBaseException, OSError, ValueError) as error:
        if full == "1":
            raise
        if isinstance(error, JobError):
            sentence, code = str(error), error.code
        elif isinstance(error, OSError) and not isinstance(error, HydraException):
            sentence, code = _explain_run_folder(error), 2
        else:
            sentence, code = overrides.explain(name, error, overrides.quote_for_hydra(typed[1:])), 2
        print(printable_lines(sentence), file=sys.stderr)
        raise SystemExit(code) from None


@contextmanager
def _summarised(summarise_sweep: Callable[[Sweep], None] | None) -> Iterator[None]:
    """Summarise a sweep once its runs have ended, those that failed included, unless it was interrupted."""
    SweepFolder.noted.clear()
    failure: Exception | None = None
    try:
        yield
    except Exception as error:
        failure = error
    try:
        if summarise_sweep is not None:
            for sweep in SweepFolder.noted:
                summarise_sweep(sweep)
    finally:
        if failure is not None:
            raise failure


def _is_settings_word(word: str) -> bool:
    return word not in ("-m", "--multirun")


def begin(cfg: DictConfig) -> None:
    """Mark the run's folder as one of a run that has begun, so that it stays whatever happens."""
    OmegaConf.save(cfg, run_folder() / CONFIG, resolve=True)


@contextmanager
def _without_hydra_frame(words: list[str]) -> Iterator[None]:
    """Let Hydra parse these words and raise its errors: by itself it would print several lines around them."""
    before, full = list(sys.argv), os.environ.get(_FULL_ERROR)
    sys.argv[1:], os.environ[_FULL_ERROR] = words, "1"
    try:
        yield
    finally:
        sys.argv[:] = before
        _set_environment(_FULL_ERROR, full)


@contextmanager
def _arguments_as_typed(typed: list[str], full: str | None) -> Iterator[None]:
    """Restore the user's arguments and environment inside the job, whose child processes run the same line again."""
    before, inside = list(sys.argv), os.environ.get(_FULL_ERROR)
    sys.argv[:] = typed
    _set_environment(_FULL_ERROR, full)
    try:
        yield
    finally:
        sys.argv[:] = before
        _set_environment(_FULL_ERROR, inside)


def _set_environment(variable: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(variable, None)
    else:
        os.environ[variable] = value


def _explain_run_folder(error: OSError) -> str:
    """Return the sentence for an error before the job, where the run's folder cannot be made."""
    return (
        f"the run's folder cannot be made ({error.strerror}: {error.filename}); run it in a folder that can be written "
        "to, or say where: hydra.run.dir=…"
    )


def run_folder() -> Path:
    """Return the folder of the current run."""
    return Path(HydraConfig.get().runtime.output_dir)


def _has_begun() -> bool:
    return (run_folder() / CONFIG).exists()


@contextmanager
def _errors_as_sentences(name: str) -> Iterator[None]:
    """Turn errors of input into one sentence; the traceback goes to the run's log file, if the run had begun."""
    try:
        with _errors_as_interruption(name):
            yield
    except MissingMandatoryValue as error:
        raise _fail_run(
            f"{error.full_key} must be given: add {error.full_key}=… to the command", name
        ) from None
    except JobError:  # a sentence already, with the job's own exit code
        raise
    except Exception as error:
        sentence = _sentence(error)
        if sentence is None or os.environ.get(_FULL_ERROR) == "1":
            raise
        _log_traceback(error)
        raise _fail_run(sentence, name) from error


@contextmanager
def _errors_as_interruption(name: str) -> Iterator[None]:
    """Turn any error after a signal into the interruption: connections and workers break down with it."""
    try:
        yield
    except BaseException as error:
        interrupted = signals.interruption()
        if interrupted is None:
            raise
        if _has_begun():
            _log_traceback(error)
        else:
            _remove_empty_run(run_folder(), f"{name}.log")
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


def _log_traceback(error: BaseException) -> None:
    """Write the traceback to the run's log file only."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            message = str(error) or type(error).__name__
            handler.handle(
                logging.LogRecord(__name__, logging.ERROR, __file__, 0, "%s", (message,), sys.exc_info())
            )


def _fail_run(sentence: str, name: str) -> UserError | JobError:
    """Return the error that ends the job; a run that had not begun leaves no folder behind."""
    usage = not _has_begun()
    if usage:
        _remove_empty_run(run_folder(), f"{name}.log")
    return _final_error(sentence, 2 if usage else 1)


def fail(sentence: str) -> NoReturn:
    """End a job with exit code 3, once its results are saved, because it found what it was asked to fail for."""
    raise _final_error(sentence, 3)


def _final_error(sentence: str, code: int) -> UserError | JobError:
    return (UserError if HydraConfig.get().mode == RunMode.RUN else JobError)(sentence, code)


def _remove_empty_run(folder: Path, log_file: str) -> None:
    """Remove what Hydra wrote into the folder of a run that never began, and the folders that are then empty."""
    from weakspot.pipeline.processes import is_main_process

    if (
        not is_main_process()
        or not folder.is_dir()
        or {path.name for path in folder.iterdir()} - {".hydra", log_file}
    ):
        return
    shutil.rmtree(folder / ".hydra", ignore_errors=True)
    (folder / log_file).unlink(missing_ok=True)
    with suppress(OSError):  # the first folder that is not empty ends the loop
        for parent in (folder, *folder.parents):
            if parent == Path.cwd():
                break
            parent.rmdir()


def _sentence(error: Exception) -> str | None:
    """Return the sentence for an error that the user can do something about, or None for a fault of the program."""
    if isinstance(error, OSError) and error.errno and error.strerror:
        return _explain_system_error(error)
    if isinstance(error, ValueError | OSError | ImportError):
        return _worker_message(str(error))
    if isinstance(error, HydraException | OmegaConfBaseException):  # of building objects, of interpolations
        return " ".join(str(error).split())
    if type(error).__name__ == "MisconfigurationException":  # Lightning's; importing it takes seconds
        return (
            f"{error} Lightning refuses this trainer: choose another (trainer=auto, cpu, gpu, ddp, ddp_cpu)."
        )
    return None


def _explain_system_error(error: OSError) -> str:
    """Return the sentence for an error of the system that nothing else has explained, as in a logger or a cache."""
    from weakspot.predictions.atomic_files import write_error_sentence

    if not isinstance(error.filename, str):
        sentence = write_error_sentence(error, run_folder(), "another folder (hydra.run.dir=…)")
        return sentence or f"{error.strerror} (in a run of {run_folder()})"
    writes = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # a read has no such error
    sentence = write_error_sentence(error, Path(error.filename).parent, "another folder") if writes else None
    return sentence or f"{error.filename}: {error.strerror}"


def _worker_message(message: str) -> str:
    """Return the message of an error in a process that loads data: torch puts the whole traceback before it."""
    if not message.startswith("Caught ") or "Original Traceback" not in message:
        return message
    last = re.split(r"\n(?=\w[\w.]*(?:: |$))", message.strip())[-1]
    return last.partition(": ")[2] or last


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
