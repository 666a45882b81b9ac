"""Handlers of Ctrl+C and SIGTERM, which end a job cleanly: finished work is kept, and no process goes on running."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Any

GRACE = 5.0
"""Seconds that the processes of an interrupted job have to end by themselves."""

_PATIENCE = 1.0  # seconds; a second Ctrl+C that comes sooner is the first one, held a little long

_AGAIN = 0.1  # seconds until an interruption that other code has swallowed is raised again

_owner: int | None = None  # the process that handles signals; a fork has another number
_first: int | None = None  # the signal that has interrupted the main thread
_swallowed = False  # whether other code has caught the interruption, which must be raised again
_alive: set[weakref.ref[Interrupted]] = set()  # the interruptions that are being raised or handled
_resent_at = 0.0  # when this process last sent itself the signal again
_callbacks: list[Callable[[], None]] = []
_callbacks_lock = threading.Lock()
_callbacks_called = False
# for each product that was begun: returns whether a part of it is on disk
_saved_work_checks: list[Callable[[], bool]] = []


class Interrupted(SystemExit):
    """Raised by a signal in the main thread, wherever that is; its code is the one that shells expect, 130 or 143.

    It is not a KeyboardInterrupt, on which Lightning sends kill -9 to all processes, and not an Exception, after which
    a sweep would go on.
    """

    code: int

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.code = 128 + signum
        self.name = signal.Signals(signum).name
        _alive.add(weakref.ref(self, _interrupt_again))


@contextmanager
def interruptible(before_exit: Callable[[Interrupted], None] = lambda interrupted: None) -> Iterator[None]:
    """Raise `Interrupted` inside the block on SIGINT and SIGTERM, unless they are ignored, as behind `nohup` or `&`.

    The process exits at once if the main thread is in compiled code for longer than `GRACE` seconds, or if the user
    presses Ctrl+C again while it ends.

    Args:
        before_exit: Called with the interruption before the process exits at once.
    """
    global _owner, _first, _swallowed, _callbacks_called
    if _owner == os.getpid() or threading.current_thread() is not threading.main_thread():
        yield
        return
    _owner, _first, _swallowed, _callbacks_called = os.getpid(), None, False, False
    _saved_work_checks.clear()
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    handled = [signum for signum, handler in before.items() if handler is not signal.SIG_IGN]
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    for signum in handled:
        signal.signal(signum, _interrupt)
    other = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    watch = threading.Thread(target=_watch, args=(reader, before_exit), daemon=True)
    watch.start()
    hook = sys.unraisablehook
    sys.unraisablehook = partial(_print_unraisable, hook)
    try:
        yield
    finally:
        _owner = None
        sys.unraisablehook = hook
        for signum in handled:
            # a signal after an interruption, while the interpreter ends, must not print a traceback
            signal.signal(signum, before[signum] if _first is None else signal.SIG_DFL)
        signal.set_wakeup_fd(other)
        writer.close()
        watch.join()
        reader.close()


def handles_signals() -> bool:
    """Return whether signals to this process raise `Interrupted`."""
    return _owner == os.getpid()


def interruption() -> Interrupted | None:
    """Return the interruption of this process, or None; any error after an interruption is its consequence."""
    return None if _first is None else Interrupted(_first)


@contextmanager
def interruption_replacing_errors() -> Iterator[None]:
    """Raise the interruption in place of any error that follows it, such as one from half-finished work."""
    try:
        yield
    except BaseException:
        interrupted = interruption()
        if interrupted is None:
            raise
        raise interrupted from None


@contextmanager
def on_interruption(callback: Callable[[], None]) -> Iterator[None]:
    """Call `callback` once, perhaps in another thread, if this process is interrupted inside the block."""
    _callbacks.append(callback)
    try:
        yield
    finally:
        _callbacks.remove(callback)


def register_saved_work(is_saved: Callable[[], bool]) -> None:
    """Register a product of the job: `is_saved` returns whether any part of it is on disk, for the next run to use."""
    _saved_work_checks.append(is_saved)


def has_saved_work() -> bool:
    """Return whether the next run will find any part of a product that this process has begun."""
    return any(is_saved() for is_saved in _saved_work_checks)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    global _first, _swallowed
    if _owner != os.getpid():
        _in_fork(signum)
    elif _first is None or _swallowed:
        _first, _swallowed = _first or signum, False
        if hasattr(signal, "SIGCHLD"):  # torch reports the end of a process that loads data as an error
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _run_callbacks()
        raise Interrupted(_first)


def _print_unraisable(hook: Callable[[Any], object], unraisable: Any) -> None:
    """Print errors that Python ignores, as in a finalizer or a callback, unless they are an interruption."""
    if not (isinstance(unraisable.exc_value, Interrupted) and _owner == os.getpid()):
        hook(unraisable)


def _interrupt_again(reference: weakref.ref[Interrupted]) -> None:
    """Interrupt again if the last interruption is gone before the block has ended: other code has swallowed it.

    Python ignores errors in finalizers and callbacks, and libraries catch some, a few of them even in compiled code
    that only asks whether an object has an attribute. An exception exists while it is raised or handled, so its end is
    the sign. The second interruption comes a little later, so that it does not hit the same code.
    """
    _alive.discard(reference)
    if not _alive and _owner == os.getpid() and _first is not None:
        again = threading.Timer(_AGAIN, _send_again)
        again.daemon = True
        again.start()


def _send_again() -> None:
    """Send the signal of the interruption again, unless the block has ended or something has raised it by then."""
    global _resent_at, _swallowed
    if not _alive and _owner == os.getpid() and _first is not None:
        _resent_at, _swallowed = time.monotonic(), True
        os.kill(os.getpid(), _first)


def _in_fork(signum: int) -> None:
    """Handle a signal to a process that loads data: Ctrl+C from a terminal is ignored, because its parent ends it."""
    if signum != signal.SIGINT:
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)


def _watch(reader: socket.socket, before_exit: Callable[[Interrupted], None]) -> None:
    """Watch for signals in a thread: in the main thread, Python's handlers wait while compiled code runs."""
    since: float | None = None
    signum = 0
    while True:
        try:
            data = reader.recv(1)
        except TimeoutError:
            if _first is None:
                break
            reader.settimeout(None)
            continue
        if not data:
            return
        if data[0] not in (signal.SIGINT, signal.SIGTERM):
            continue
        if since is None:
            since, signum = time.monotonic(), data[0]
            _run_callbacks()
            reader.settimeout(GRACE)
        elif data[0] == signal.SIGINT and time.monotonic() - max(since, _resent_at) > _PATIENCE:
            break
    before_exit(Interrupted(signum))
    os._exit(128 + signum)


def _run_callbacks() -> None:
    global _callbacks_called
    with _callbacks_lock:
        if not _callbacks_called:
            _callbacks_called = True
            for callback in _callbacks:
                with suppress(OSError):  # the process that it ends may have ended by itself
                    callback()


if hasattr(os, "register_at_fork"):  # a fork's signals are not its parent's
    os.register_at_fork(after_in_child=lambda: _owner and signal.set_wakeup_fd(-1))


@contextmanager
def quiet_on_broken_pipe() -> Iterator[None]:
    """End the process quietly when the reader of its output, such as head, has closed it."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is flushed at the end
        raise SystemExit(128 + signal.SIGPIPE) from None
