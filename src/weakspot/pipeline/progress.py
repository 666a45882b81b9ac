"""The progress of a long step: a bar on a terminal, and elsewhere a line from time to time."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column

from weakspot.pipeline.processes import is_main_process

log = logging.getLogger(__name__)

LOG_INTERVAL = 30.0
"""Seconds between two lines if there is no terminal."""

_MAX_NAME_WIDTH = 46  # columns, so that bar and times fit beside the name in 80 columns

ReportProgress = Callable[[str, int, int], None]
"""A function that is called from time to time with the stage's name, the number of steps done and the total."""


@contextmanager
def progress(
    first_stage: str, shown: bool = True, console: Console | None = None
) -> Iterator[ReportProgress]:
    """Yield a function that reports progress.

    Args:
        first_stage: The name of the first stage, shown until the first report.
        shown: False to show nothing.
        console: The console to show it on; standard output by default.

    Yields:
        A function of the stage's name, the number of steps done and the total.
    """
    console = console or Console()
    if not (shown and is_main_process()):
        yield lambda stage, done, total: None
    elif console.is_terminal:
        with _progress_bar(first_stage, console) as report_progress:
            yield report_progress
    else:
        with _log_lines(first_stage) as report_progress:
            yield report_progress


@contextmanager
def _progress_bar(first_stage: str, console: Console) -> Iterator[ReportProgress]:
    """Show a bar, which is removed when the step is finished; log lines appear above it."""
    name = TextColumn("{task.description}", table_column=Column(max_width=_MAX_NAME_WIDTH, no_wrap=True))
    columns = (name, BarColumn(bar_width=20), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(first_stage, total=None)
        with _log_above_bar(console):
            yield lambda stage, done, total: bar.update(task, description=stage, completed=done, total=total)


@contextmanager
def _log_above_bar(console: Console) -> Iterator[None]:
    """Let log lines appear above the bar; logging's own streams would write into it."""
    handlers = [handler for handler in logging.root.handlers if type(handler) is logging.StreamHandler]
    streams: list[Any] = [handler.stream for handler in handlers]
    for handler in handlers:
        handler.setStream(sys.stdout)  # the bar has replaced sys.stdout
    try:
        yield
    finally:
        for handler, stream in zip(handlers, streams, strict=True):
            handler.setStream(stream)


@contextmanager
def _log_lines(first_stage: str) -> Iterator[ReportProgress]:
    """Log a line at regular intervals, even if nothing is reported, so that a long step does not look stuck."""
    stage = _Stage(first_stage)
    finished = threading.Event()

    def log_regularly() -> None:
        while not finished.wait(LOG_INTERVAL):
            log.info("%s", str(stage))

    thread = threading.Thread(target=log_regularly, daemon=True)
    thread.start()
    try:
        yield stage.report_progress
    finally:
        finished.set()
        thread.join()


class _Stage:
    """The name, the start and the progress of the current stage."""

    def __init__(self, name: str) -> None:
        self.name, self.done, self.total = name, 0, 0
        self.start = self.stage_start = time.monotonic()

    def report_progress(self, name: str, done: int, total: int) -> None:
        if done < self.done or total != self.total:
            self.stage_start = time.monotonic()
        self.name, self.done, self.total = name, done, total

    def __str__(self) -> str:
        now = time.monotonic()
        parts = [self.name, f"{format_duration(now - self.start)} so far"]
        if self.total:
            parts.insert(1, f"{self.done} of {self.total}")
        if 0 < self.done < self.total:
            left = (now - self.stage_start) * (self.total - self.done) / self.done
            parts.append(f"about {format_duration(left)} left")
        return " · ".join(parts)


def format_duration(seconds: float) -> str:
    """Return a duration in words: 5 s, 3 min, 2 h 10 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours else f"{minutes} min"
