"""How a job that a signal interrupts ends, and the message about it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from weakspot import signals
from weakspot.launch.job_errors import log_traceback
from weakspot.launch.run_folders import has_begun, remove_empty_run, run_folder
from weakspot.launch.sweep_results import INTERRUPTED, write_outcome

_jobs_elsewhere = False  # whether the last interruption has ended jobs of a sweep in other processes


@contextmanager
def errors_as_interruption(name: str) -> Iterator[None]:
    """Turn any error after a signal into the interruption, which also breaks connections and workers."""
    try:
        yield
    except BaseException as error:
        interrupted = signals.interruption()
        if interrupted is None:
            raise
        if has_begun():
            log_traceback(error)
            write_outcome(INTERRUPTED, interrupted.name)
        else:
            remove_empty_run(run_folder(), f"{name}.log")
        raise interrupted from None


@contextmanager
def ending_with_launcher() -> Iterator[None]:
    """End a process of a sweep's launcher with its interrupted job; otherwise it would wait for another job."""
    if signals.handles_signals():
        yield
        return
    with signals.interruptible():
        try:
            yield
        except signals.Interrupted as interrupted:
            logging.shutdown()
            os._exit(interrupted.code)


def end_workers() -> None:
    """End the jobs of a sweep that run in other processes: its launcher would kill them while they save their work."""
    global _jobs_elsewhere
    workers = [child for child in multiprocessing.active_children() if not child.daemon]
    _jobs_elsewhere = bool(workers)
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join(signals.GRACE)


def print_interruption(interrupted: signals.Interrupted, name: str) -> None:
    """Print that a command was interrupted, and what the same command does when it is run again."""
    from weakspot.pipeline.processes import is_main_process

    again = "starts it again" if name == "browse" else "begins again"
    # what jobs in other processes have kept is not known here
    if _jobs_elsewhere or signals.has_saved_work():
        goes_on = {"discover": "searches again, and goes on from what is trained and inferred"}
        again = goes_on.get(name, "goes on from what is finished")
    if is_main_process():
        print(f"interrupted ({interrupted.name}); the same command {again}", file=sys.stderr, flush=True)
