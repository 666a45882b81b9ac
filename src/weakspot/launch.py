"""From a command line to a job: the configuration is composed, the job run, and whatever goes wrong is one sentence."""

from __future__ import annotations

import errno
import gc
import logging
import multiprocessing
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException, HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from weakspot import overrides, signals
from weakspot.config import CONFIGS, register
from weakspot.legible import printable_lines

log = logging.getLogger(__name__)

CONFIG = "config.yaml"  # in the folder of a run that has begun
_FULL_ERROR = "HYDRA_FULL_ERROR"


class Told(SystemExit):
    """Something that a person is to know, said in a sentence: 1 where a run broke down, 2 where the line was at fault,
    before anything was made, 3 where a run found what it was to fail for."""

    def __init__(self, sentence: str, code: int = 1) -> None:
        super().__init__(code)
        self.sentence = sentence


class JobError(CompactHydraException):
    """The same in a sweep, whose other jobs go on; Hydra says before it which job it was."""

    def __init__(self, sentence: str, code: int = 1) -> None:
        super().__init__(sentence)
        self.code = code


def run(name: str, job: Callable[[DictConfig, Path], float | None]) -> None:
    """Compose the configuration and run `job` once, or once for each point of a sweep.

    What it returns is what a sweeper that searches (`hydra/sweeper=optuna`) makes small.
    """
    # torch's threads, as it loads them: asleep while they wait. Spinning, they make small models several times slower
    # wherever another process wants the same cores
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # OpenBLAS' threads (NumPy's and SciPy's) are to fall asleep soon: by default they spin for 2^26 cycles, 25 ms,
    # after each product
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")
    # collect young objects less often than by default, and all objects rarely: half a dozen full collections while
    # libraries load, each through all that they have made, were a tenth of a run that infers nothing
    gc.set_threshold(2000, 10, 50)
    # a full disk takes no lines of the run's log file either, and no traceback for each of them would help
    logging.raiseExceptions = False
    register()
    typed, full = list(sys.argv), os.environ.get(_FULL_ERROR)

    def task(cfg: DictConfig) -> float | None:
        with _ending_workers(), _as_typed(typed, full), _sentences(name), _own_arguments():
            overrides.check(cfg, HydraConfig.get().overrides.task)
            if "trainer" not in cfg:
                return job(cfg, run_folder())
            from weakspot.pipeline.ranks import is_main, processes

            if is_main():
                log.info("loading libraries …")
            with processes(cfg.trainer.accelerator):
                return job(cfg, run_folder())

    try:
        with (
            signals.interruptible(lambda interrupted: _say_interrupted(interrupted, name)),
            signals.passed_on(_end_workers),
            _without_frame(overrides.readable(typed[1:])),
        ):
            hydra.main(config_path=str(CONFIGS), config_name=name, version_base="1.3")(task)()
    except signals.Interrupted as interrupted:
        _say_interrupted(interrupted, name)
        raise
    except Told as told:
        print(printable_lines(told.sentence), file=sys.stderr)
        raise
    except (HydraException, OmegaConfBaseException, OSError, ValueError) as error:
        if full == "1":
            raise
        if isinstance(error, JobError):
            sentence, code = str(error), error.code
        elif isinstance(error, OSError) and not isinstance(error, HydraException):
            sentence, code = _of_folder(error), 2
        else:
            sentence, code = overrides.explain(name, error, overrides.readable(typed[1:])), 2
        print(printable_lines(sentence), file=sys.stderr)
        raise SystemExit(code) from None


def begin(cfg: DictConfig) -> None:
    """Mark the run's folder as one of a run that has begun: from here on it stays, whatever happens."""
    OmegaConf.save(cfg, run_folder() / CONFIG, resolve=True)


@contextmanager
def _without_frame(words: list[str]) -> Iterator[None]:
    """Hydra reads these words, and leaves its errors to us: by itself it would put several lines around them."""
    before, full = list(sys.argv), os.environ.get(_FULL_ERROR)
    sys.argv[1:], os.environ[_FULL_ERROR] = words, "1"
    try:
        yield
    finally:
        sys.argv[:] = before
        _set(_FULL_ERROR, full)


@contextmanager
def _as_typed(typed: list[str], full: str | None) -> Iterator[None]:
    """Within the job, whose children run the same line again, arguments and environment are as they were given."""
    before, inside = list(sys.argv), os.environ.get(_FULL_ERROR)
    sys.argv[:] = typed
    _set(_FULL_ERROR, full)
    try:
        yield
    finally:
        sys.argv[:] = before
        _set(_FULL_ERROR, inside)


def _set(variable: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(variable, None)
    else:
        os.environ[variable] = value


def _of_folder(error: OSError) -> str:
    """What an error means that came before the job: the run's folder cannot be made."""
    return (
        f"the run's folder cannot be made ({error.strerror}: {error.filename}); run it in a folder that can be written "
        "to, or say where: hydra.run.dir=…"
    )


def run_folder() -> Path:
    return Path(HydraConfig.get().runtime.output_dir)


def _has_begun() -> bool:
    return (run_folder() / CONFIG).exists()


@contextmanager
def _sentences(name: str) -> Iterator[None]:
    """Errors of input as one sentence; the traceback goes to the run's log file, if anything was run."""
    try:
        with _interruption(name):
            yield
    except MissingMandatoryValue as error:
        raise _told(f"{error.full_key} must be given: add {error.full_key}=… to the command", name) from None
    except Exception as error:
        sentence = _sentence(error)
        if sentence is None or os.environ.get(_FULL_ERROR) == "1":
            raise
        _write_down(error)
        raise _told(sentence, name) from error


@contextmanager
def _interruption(name: str) -> Iterator[None]:
    """Whatever ends the job after a signal is the interruption: connections and workers break down with it."""
    try:
        yield
    except BaseException as error:
        interrupted = signals.received()
        if interrupted is None:
            raise
        if _has_begun():
            _write_down(error)
        else:
            _remove_empty_run(run_folder(), f"{name}.log")
        raise interrupted from None


@contextmanager
def _ending_workers() -> Iterator[None]:
    """A job in a process that a sweep's launcher started ends with that process, which would wait for another job."""
    if signals.heard():
        yield
        return
    with signals.interruptible():
        try:
            yield
        except signals.Interrupted as interrupted:
            logging.shutdown()
            os._exit(interrupted.code)


def _end_workers() -> None:
    """End the jobs of a sweep that run in other processes: its launcher would kill them while they keep their work."""
    workers = [child for child in multiprocessing.active_children() if not child.daemon]
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join(signals.GRACE)


def _say_interrupted(interrupted: signals.Interrupted, name: str) -> None:
    from weakspot.pipeline.ranks import is_main

    again = {
        "browse": "starts it again",
        "discover": "searches again, and goes on from what is trained and inferred",
    }.get(name, "goes on from what is finished")
    if is_main():
        print(f"interrupted ({interrupted.name}); the same command {again}", file=sys.stderr, flush=True)


def _write_down(error: BaseException) -> None:
    """The traceback, in the run's log file alone."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            words = str(error) or type(error).__name__
            handler.handle(
                logging.LogRecord(__name__, logging.ERROR, __file__, 0, "%s", (words,), sys.exc_info())
            )


def _told(sentence: str, name: str) -> Told | JobError:
    """What ends the job; one that had not begun leaves no folder behind."""
    usage = not _has_begun()
    if usage:
        _remove_empty_run(run_folder(), f"{name}.log")
    return _ending(sentence, 2 if usage else 1)


def fail(sentence: str) -> NoReturn:
    """End a job that has left all it found, because it found what it was to fail for (`fail_if`): exit code 3."""
    raise _ending(sentence, 3)


def _ending(sentence: str, code: int) -> Told | JobError:
    return (Told if HydraConfig.get().mode == RunMode.RUN else JobError)(sentence, code)


def _remove_empty_run(folder: Path, log_file: str) -> None:
    """Remove what Hydra wrote into the folder of a run that never began, and the folders that are then empty."""
    from weakspot.pipeline.ranks import is_main

    if (
        not is_main()
        or not folder.is_dir()
        or {path.name for path in folder.iterdir()} - {".hydra", log_file}
    ):
        return
    shutil.rmtree(folder / ".hydra", ignore_errors=True)
    (folder / log_file).unlink(missing_ok=True)
    with suppress(OSError):  # the first that is not empty
        for place in (folder, *folder.parents):
            if place == Path.cwd():
                break
            place.rmdir()


def _sentence(error: Exception) -> str | None:
    """What a person can do about an error, or None for one that is nobody's but ours."""
    if isinstance(error, OSError) and error.errno and error.strerror:
        return _of_system(error)
    if isinstance(error, ValueError | OSError | ImportError):
        return _of_worker(str(error))
    if isinstance(error, HydraException | OmegaConfBaseException):  # of building objects, of interpolations
        return " ".join(str(error).split())
    if type(error).__name__ == "MisconfigurationException":  # Lightning's; importing it takes seconds
        return (
            f"{error} Lightning refuses this trainer: choose another (trainer=auto, cpu, gpu, ddp, ddp_cpu)."
        )
    return None


def _of_system(error: OSError) -> str:
    """What the system refused where nobody knew more of it: in a logger, or a cache."""
    from weakspot.predictions.folders import refusal

    if not isinstance(error.filename, str):
        said = refusal(error, run_folder(), "another folder (hydra.run.dir=…)")
        return said or f"{error.strerror} (in a run of {run_folder()})"
    writes = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # no reader is refused for these
    said = refusal(error, Path(error.filename).parent, "another folder") if writes else None
    return said or f"{error.filename}: {error.strerror}"


def _of_worker(said: str) -> str:
    """What was said in a process that loads data: torch puts the whole traceback before it."""
    if not said.startswith("Caught ") or "Original Traceback" not in said:
        return said
    last = re.split(r"\n(?=\w[\w.]*(?:: |$))", said.strip())[-1]
    return last.partition(": ")[2] or last


@contextmanager
def _own_arguments() -> Iterator[None]:
    """In a sweep, Lightning's child processes must run this job alone: give them its overrides and its folder."""
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
