"""One maker per folder, across jobs; or one per part of a record, at the same time, and then one that joins them.

.locks/NAME             held while the folder is made; and for a moment, to begin a part of it
.locks/NAME.part3of64   held while that part is inferred
"""

from __future__ import annotations

import glob
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from weakspot.pipeline.part import Part
from weakspot.pipeline.ranks import is_main
from weakspot.predictions.atomic_files import writing

_TO_BEGIN = 2.0  # seconds in which many jobs at once begin their parts

log = logging.getLogger(__name__)


@contextmanager
def sole_maker(folder: Path, setting: str) -> Iterator[bool]:
    """Make a folder alone: no other job makes it, or a part of it; says if another had it. Ranks above 0 follow the
    one that holds it.

    Raises OSError where the disk is full or refuses, naming the `setting` for another folder.
    """
    if not is_main():
        yield False
        return
    lock = _lock(folder, setting)
    with writing(folder.parent, setting):
        waited = _wait_for(lock, folder)
        try:
            # no part begins from here on
            for begun in sorted(folder.parent.glob(f".locks/{glob.escape(folder.name)}.part*")):
                part = FileLock(begun)
                waited = _wait_for(part, folder) or waited
                part.release()
        except BaseException:
            lock.release()
            raise
    try:
        yield waited
    finally:
        lock.release()


@contextmanager
def maker_of(part: Part, folder: Path, setting: str) -> Iterator[None]:
    """Make one part of a folder: others may make other parts meanwhile, but nobody the whole. Raises as above."""
    if not is_main():
        yield
        return
    own = _lock(folder, setting, f".part{part.number}of{part.of}")
    with writing(folder.parent, setting):
        while not _begun(own, _lock(folder, setting), folder):
            # whoever holds the whole waits for parts: to wait for one while holding the whole would be for ever
            _wait_for(own, folder)
            own.release()
    try:
        yield
    finally:
        own.release()


def _begun(own: FileLock, whole: FileLock, folder: Path) -> bool:
    """Take the lock of a part, while nobody makes the whole; False where another job makes the same part."""
    _wait_for(whole, folder, _TO_BEGIN)
    try:
        own.acquire(blocking=False)
    except Timeout:
        return False
    finally:
        whole.release()
    return True


def _lock(folder: Path, setting: str, part: str = "") -> FileLock:
    locks = folder.parent / ".locks"
    with writing(folder.parent, setting):
        locks.mkdir(parents=True, exist_ok=True)
    return FileLock(locks / f"{folder.name}{part}")


def _wait_for(lock: FileLock, folder: Path, patience: float = 0.0) -> bool:
    """Take a lock; says if another job had it for longer than so many seconds."""
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        log.info("waiting for another job that is making %s", folder)
        lock.acquire()
        return True
    return False
