"""Locks across jobs: one job makes a folder; or several jobs make shards of a record, and then one joins them.

.locks/NAME             held while the folder is made, and briefly when a shard of it begins
.locks/NAME.part3of64   held while that shard is inferred
"""

from __future__ import annotations

import glob
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from weakspot.pipeline.job_shard import JobShard
from weakspot.pipeline.processes import is_main_process
from weakspot.predictions.atomic_files import writing

_START_TIMEOUT = 2.0  # seconds in which many jobs at once can begin their shards

log = logging.getLogger(__name__)


@contextmanager
def folder_lock(folder: Path, setting: str) -> Iterator[bool]:
    """Hold the lock of a folder, so that no other job makes the folder or a shard of it.

    Only rank 0 takes the lock; the other ranks follow it.

    Args:
        folder: The folder to make.
        setting: The setting that chooses another place for it.

    Yields:
        Whether another job had held the lock.

    Raises:
        OSError: If the disk is full or not writable; the message names the setting.
    """
    if not is_main_process():
        yield False
        return
    lock = _file_lock(folder, setting)
    with writing(folder.parent, setting):
        waited = _acquire(lock, folder)
        try:
            # no shard can begin from here on
            for begun in sorted(folder.parent.glob(f".locks/{glob.escape(folder.name)}.part*")):
                shard = FileLock(begun)
                waited = _acquire(shard, folder) or waited
                shard.release()
        except BaseException:
            lock.release()
            raise
    try:
        yield waited
    finally:
        lock.release()


@contextmanager
def shard_lock(shard: JobShard, folder: Path, setting: str) -> Iterator[None]:
    """Hold the lock of one shard of a folder: meanwhile, other jobs may make other shards, but not the whole.

    Args:
        shard: The shard.
        folder: The folder of the record.
        setting: The setting that chooses another place for it.

    Raises:
        OSError: If the disk is full or not writable; the message names the setting.
    """
    if not is_main_process():
        yield
        return
    lock = _file_lock(folder, setting, f".part{shard.number}of{shard.count}")
    with writing(folder.parent, setting):
        while not _acquire_shard(lock, _file_lock(folder, setting), folder):
            # the holder of the whole lock waits for shards: waiting for a shard while holding it would deadlock
            _acquire(lock, folder)
            lock.release()
    try:
        yield
    finally:
        lock.release()


def _acquire_shard(shard: FileLock, whole: FileLock, folder: Path) -> bool:
    """Acquire the lock of a shard while no job makes the whole; return False if another job makes the same shard."""
    _acquire(whole, folder, _START_TIMEOUT)
    try:
        shard.acquire(blocking=False)
    except Timeout:
        return False
    finally:
        whole.release()
    return True


def _file_lock(folder: Path, setting: str, shard: str = "") -> FileLock:
    locks = folder.parent / ".locks"
    with writing(folder.parent, setting):
        locks.mkdir(parents=True, exist_ok=True)
    return FileLock(locks / f"{folder.name}{shard}")


def _acquire(lock: FileLock, folder: Path, patience: float = 0.0) -> bool:
    """Acquire a lock; return whether another job had held it for longer than `patience` seconds."""
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        log.info("waiting for another job that is making %s", folder)
        lock.acquire()
        return True
    return False
