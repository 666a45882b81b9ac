"""The errors that end a job, each one sentence with an exit code."""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException, HydraException
from hydra.types import RunMode
from omegaconf.errors import GrammarParseError, MissingMandatoryValue, OmegaConfBaseException

from weakspot import plugins
from weakspot.launch.run_folders import has_begun, remove_empty_run, run_folder
from weakspot.launch.sweep_results import FAILED, write_outcome
from weakspot.legible import printable_lines

_PACKAGE = Path(__file__).parents[1]

FULL_ERROR = "HYDRA_FULL_ERROR"
"""The environment variable that asks for tracebacks."""

_KILLED_WORKER = re.compile(r"DataLoader worker .*(by signal: (Killed|Bus error)|exited unexpectedly$)")
"""Torch's message if the system has killed a process that loads data; one that crashes or exits has a bug."""


class UserError(SystemExit):
    """Ends the process with a sentence for the user and an exit code.

    The code is 1 if a run failed, and 2 if the command line was wrong, before anything was made; that for `fail_if` is
    in `weakspot.commands.fail_if`.
    """

    def __init__(self, sentence: str, code: int = 1) -> None:
        super().__init__(code)
        self.sentence = sentence


class JobError(CompactHydraException):
    """Ends a job of a sweep in the same way, while others go on; its sentence is printed below the sweep's table."""

    def __init__(self, sentence: str, code: int = 1) -> None:
        super().__init__(sentence)
        self.code = code


@contextmanager
def errors_as_sentences(name: str) -> Iterator[None]:
    """Turn input errors into one sentence, and bugs in a plug-in into a sentence and a few frames.

    The full traceback goes to the run's log file, except for an input error before the run has begun.
    """
    try:
        yield
    except JobError:  # a sentence already, with the job's own exit code
        raise
    except Exception as error:
        sentence = sentence_of(error)
        if sentence is None or has_begun():
            log_traceback(error)
        frames = "" if sentence else _frames_from_plugin(error)
        if os.environ.get(FULL_ERROR) == "1" or not (sentence or frames):
            write_outcome(FAILED, f"{type(error).__name__}: {error}")
            raise
        if sentence is None:
            raise _fail_by_plugin(error, frames, name) from error
        raise _fail_run(sentence, name) from error


def _fail_run(sentence: str, name: str) -> UserError | JobError:
    """Return the error that ends the job; a run that had not begun leaves no folder behind, except in a sweep."""
    usage = not has_begun()
    if usage and HydraConfig.get().mode == RunMode.RUN:
        remove_empty_run(run_folder(), f"{name}.log")
    write_outcome(FAILED, sentence)
    return job_error(sentence, 2 if usage else 1)


def _fail_by_plugin(error: Exception, frames: str, name: str) -> UserError | JobError:
    """Print the frames of an error, from the plug-in's file on, and return the error that ends the job."""
    title = f"Traceback (most recent call last; all of it is in {run_folder() / name}.log):"
    print(printable_lines(f"{title}\n{frames}"), file=sys.stderr, flush=True)
    message = ": ".join(filter(None, [type(error).__name__, _worker_message(str(error))]))
    place = _place_in_plugin(error)
    sentence = message.removesuffix(place) + place  # a syntax error's message has it already
    write_outcome(FAILED, sentence)
    return job_error(sentence, 1)


def job_error(sentence: str, code: int) -> UserError | JobError:
    """Return the error that ends the process or, in a sweep, only this job."""
    return (UserError if HydraConfig.get().mode == RunMode.RUN else JobError)(sentence, code)


def log_traceback(error: BaseException) -> None:
    """Write the traceback to the run's log file only."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            message = str(error) or type(error).__name__
            handler.handle(
                logging.LogRecord(__name__, logging.ERROR, __file__, 0, "%s", (message,), sys.exc_info())
            )


def sentence_of(error: Exception) -> str | None:
    """Return the sentence for an error that the user can do something about, or None for a bug in the program."""
    if isinstance(error, OSError) and error.errno and error.strerror:
        return _explain_system_error(error)
    if isinstance(error, GrammarParseError):  # it does not name the setting
        message = library_message(error)
        return f"a setting holds a ${{…}} that cannot be read: {message}; --cfg job shows all settings of a command"
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} must be given: add {error.full_key}=… to the command"
    if isinstance(error, HydraException | OmegaConfBaseException):  # from building objects, or interpolations
        key = getattr(error, "full_key", None)
        return f"{key}: {library_message(error)}" if key else library_message(error)
    if isinstance(error, RuntimeError) and (killed := _KILLED_WORKER.match(str(error))):
        return f"{killed[0]}, perhaps for lack of memory: num_workers=0 loads data without further processes"
    if isinstance(error, ValueError | OSError | ImportError):
        place = "" if _is_raised_by_weakspot(error) else _place_in_plugin(error)
        return (_worker_message(str(error)) or type(error).__name__) + place
    if type(error).__name__ == "MisconfigurationException":  # Lightning's; importing it takes seconds
        return (
            f"{error} Lightning refuses this trainer: choose another (trainer=auto, cpu, gpu, ddp, ddp_cpu)."
        )
    return None


def library_message(error: Exception) -> str:
    """Return the message of an error of Hydra or OmegaConf on one line, without pointers to documentation."""
    causes = [
        str(one) for one in (error, error.__cause__) if str(one) != "None"
    ]  # a parser's errors say None
    message = " ".join(" ".join(causes).split())
    return re.split(r" full_key:| See https| Available options in| Config search path:", message)[0].strip()


def _explain_system_error(error: OSError) -> str:
    """Return the sentence for a system error that nothing else has explained, such as one in a logger or a cache."""
    from weakspot.predictions.atomic_files import RUN_FOLDER, write_error_sentence

    where = f"with {FULL_ERROR}=1 the same command shows where it arose"
    if not isinstance(error.filename, str):  # an open file, a semaphore, …
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return (
                f"{error.strerror}, probably on the disk of {run_folder()}: free some room there, or give another "
                f"folder ({RUN_FOLDER}=…); {where}"
            )
        return f"{error.strerror} (in a run of {run_folder()}); {where}"
    writes = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # reading raises none of these
    sentence = write_error_sentence(error, Path(error.filename).parent, "another folder") if writes else None
    return sentence or f"{error.filename}: {error.strerror}; {where}"


_FRAME = re.compile(r'^ *File "(.+)", line (\d+)', re.MULTILINE)
"""The first line of a frame in a traceback; the traceback of a process that loads data is in an error's message."""


def _is_raised_by_weakspot(error: Exception) -> bool:
    """Return whether this package has raised an error, so that its message is enough."""
    frames = _FRAME.findall(_traceback_text(error))
    return bool(frames) and Path(frames[-1][0]).is_relative_to(_PACKAGE)


def _place_in_plugin(error: Exception) -> str:
    """Return the last line of a plug-in's code that led to an error, or ""."""
    for file, line in reversed(_FRAME.findall(_traceback_text(error))):
        if name := plugins.code_name(Path(file)):
            return f" ({name}, line {line})"
    return ""


def _frames_from_plugin(error: Exception) -> str:
    """Return the frames of an error, starting with the first in a plug-in's file, or ""."""
    text = _traceback_text(error)
    for frame in _FRAME.finditer(text):
        if plugins.code_name(Path(frame[1])):
            return re.split(r"\n(?=\S)", text[frame.start() :])[0]
    return ""


def _traceback_text(error: Exception) -> str:
    return "".join(traceback.format_exception(error, chain=False))


def _worker_message(message: str) -> str:
    """Return an error's message without the traceback that torch puts before it in a process that loads data."""
    if not message.startswith("Caught ") or "Original Traceback" not in message:
        return message
    last = re.split(r"\n(?=\w[\w.]*(?:: |$))", message.strip())[-1]
    return last.partition(": ")[2] or last
