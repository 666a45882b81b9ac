"""Ctrl+C and SIGTERM end a job in good order: what is finished is kept, nothing goes on running, and it is said."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

GRACE = 5.0
"""Seconds in which the processes of an interrupted job are to end by themselves."""

_PATIENCE = 1.0  # seconds; a second Ctrl+C that comes sooner is the first one, held a little long

_owner: int | None = None  # the process whose signals are heard; forks have another number
_first: int | None = None  # the signal that the main thread has been interrupted by
_told: list[Callable[[], None]] = []
_telling = threading.Lock()
_all_told = False


class Interrupted(SystemExit):
    """What a signal raises in the main thread, wherever that is; its code is what shells expect: 130 or 143.

    No KeyboardInterrupt, for which Lightning has an end of its own (kill -9 to all processes), and no Exception, after
    which a sweep would go on.
    """

    code: int

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.code = 128 + signum
        self.name = signal.Signals(signum).name


@contextmanager
def interruptible(last_words: Callable[[Interrupted], None] = lambda interrupted: None) -> Iterator[None]:
    """Within it SIGINT and SIGTERM raise `Interrupted`, but where they are ignored, as behind `nohup` or `&`.

    A main thread that is in compiled code for longer than `GRACE`, or one whose end takes too long for somebody who
    presses Ctrl+C again, is ended without more ado; `last_words` are called before.
    """
    global _owner, _first, _all_told
    if _owner == os.getpid() or threading.current_thread() is not threading.main_thread():
        yield
        return
    _owner, _first, _all_told = os.getpid(), None, False
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    heard = [signum for signum, handler in before.items() if handler is not signal.SIG_IGN]
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    for signum in heard:
        signal.signal(signum, _interrupt)
    other = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    watch = threading.Thread(target=_watch, args=(reader, last_words), daemon=True)
    watch.start()
    try:
        yield
    finally:
        _owner = None
        for signum in heard:
            # what comes after an interruption, while the interpreter ends, must be no traceback
            signal.signal(signum, before[signum] if _first is None else signal.SIG_DFL)
        signal.set_wakeup_fd(other)
        writer.close()
        watch.join()
        reader.close()


def heard() -> bool:
    """Whether signals to this process raise `Interrupted`."""
    return _owner == os.getpid()


def received() -> Interrupted | None:
    """The interruption of this process, if there was one: whatever error comes after it is a consequence."""
    return None if _first is None else Interrupted(_first)


@contextmanager
def passed_on(tell: Callable[[], None]) -> Iterator[None]:
    """Within it `tell` is called, once, when this process is interrupted; perhaps in another thread."""
    _told.append(tell)
    try:
        yield
    finally:
        _told.remove(tell)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    global _first
    if _owner != os.getpid():
        _in_fork(signum)
    elif _first is None:
        _first = signum
        if hasattr(signal, "SIGCHLD"):  # torch takes the end of a process that loads data for an error
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _tell_all()
        raise Interrupted(signum)


def _in_fork(signum: int) -> None:
    """A process that loads data has this handler too. A terminal sends it Ctrl+C, but its parent is to end it."""
    if signum != signal.SIGINT:
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)


def _watch(reader: socket.socket, last_words: Callable[[Interrupted], None]) -> None:
    """Hear signals in a thread: in the main one, Python's handlers wait while compiled code runs."""
    since: float | None = None
    signum = 0
    while True:
        try:
            received = reader.recv(1)
        except TimeoutError:
            if _first is None:
                break
            reader.settimeout(None)
            continue
        if not received:
            return
        if received[0] not in (signal.SIGINT, signal.SIGTERM):
            continue
        if since is None:
            since, signum = time.monotonic(), received[0]
            _tell_all()
            reader.settimeout(GRACE)
        elif received[0] == signal.SIGINT and time.monotonic() - since > _PATIENCE:
            break
    last_words(Interrupted(signum))
    os._exit(128 + signum)


def _tell_all() -> None:
    global _all_told
    with _telling:
        if not _all_told:
            _all_told = True
            for tell in _told:
                with suppress(OSError):  # whom it tells may have ended by itself
                    tell()


if hasattr(os, "register_at_fork"):  # a fork's signals are not its parent's
    os.register_at_fork(after_in_child=lambda: _owner and signal.set_wakeup_fd(-1))
