"""How far a long step is: a bar on a terminal, and elsewhere a line now and then."""

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

from weakspot.pipeline.ranks import is_main

log = logging.getLogger(__name__)

EVERY = 30.0
"""Seconds between two lines off a terminal."""

_NAME = 46  # columns, so that bar and times fit beside it in 80

Tell = Callable[[str, int, int], None]
"""Called now and then with (what is going on, steps done, steps in all)."""


@contextmanager
def progress(first: str, shown: bool = True, console: Console | None = None) -> Iterator[Tell]:
    """Yields what to call with (what is going on, steps done, steps in all).

    Args:
        first: What is going on until the first call.
        shown: False to say nothing.
        console: Where to say it; standard output by default.
    """
    console = console or Console()
    if not (shown and is_main()):
        yield lambda stage, done, total: None
    elif console.is_terminal:
        with _bar(first, console) as tell:
            yield tell
    else:
        with _lines(first) as tell:
            yield tell


@contextmanager
def _bar(first: str, console: Console) -> Iterator[Tell]:
    """A bar that is gone when the step is over; what is logged meanwhile stands above it."""
    name = TextColumn("{task.description}", table_column=Column(max_width=_NAME, no_wrap=True))
    columns = (name, BarColumn(bar_width=20), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(first, total=None)
        with _logged_above(console):
            yield lambda stage, done, total: bar.update(task, description=stage, completed=done, total=total)


@contextmanager
def _logged_above(console: Console) -> Iterator[None]:
    """Logging's own streams would write into the bar."""
    handlers = [handler for handler in logging.root.handlers if type(handler) is logging.StreamHandler]
    streams: list[Any] = [handler.stream for handler in handlers]
    for handler in handlers:
        handler.setStream(sys.stdout)  # which the bar has replaced
    try:
        yield
    finally:
        for handler, stream in zip(handlers, streams, strict=True):
            handler.setStream(stream)


@contextmanager
def _lines(first: str) -> Iterator[Tell]:
    """A line every so often, also while nothing is told: that a step is long must not look like a halt."""
    stage = _Stage(first)
    over = threading.Event()

    def beat() -> None:
        while not over.wait(EVERY):
            log.info("%s", str(stage))

    beating = threading.Thread(target=beat, daemon=True)
    beating.start()
    try:
        yield stage.tell
    finally:
        over.set()
        beating.join()


class _Stage:
    """What is going on, since when, and how far it is."""

    def __init__(self, name: str) -> None:
        self.name, self.done, self.total = name, 0, 0
        self.start = self.stage_start = time.monotonic()

    def tell(self, name: str, done: int, total: int) -> None:
        if done < self.done or total != self.total:
            self.stage_start = time.monotonic()
        self.name, self.done, self.total = name, done, total

    def __str__(self) -> str:
        now = time.monotonic()
        parts = [self.name, f"{duration(now - self.start)} so far"]
        if self.total:
            parts.insert(1, f"{self.done} of {self.total}")
        if 0 < self.done < self.total:
            left = (now - self.stage_start) * (self.total - self.done) / self.done
            parts.append(f"about {duration(left)} left")
        return " · ".join(parts)


def duration(seconds: float) -> str:
    """As people say it: 5 s, 3 min, 2 h 10 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours else f"{minutes} min"
