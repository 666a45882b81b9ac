"""Atomic writes of files and folders: each is complete or absent, even if a process is killed or a disk is full."""

from __future__ import annotations

import errno
import glob
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

RUN_FOLDER = "hydra.run.dir=…, with -m hydra.sweep.dir"
"""The settings that choose another folder for a run, in the form that `writing` takes."""

_LOCK = "lock"
_NEW = "new"
_OLD = "old"
_LOCK_DELAY = 60.0  # seconds within which a new draft gets its lock
_BLOCK = 1 << 20

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_PERMISSION = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def writing(folder: Path, setting: str | None = None) -> Iterator[None]:
    """Turn a disk error inside the block into one sentence that names the folder, the reason and what to do.

    Args:
        folder: The folder that the block writes to.
        setting: The setting on the command line that chooses another folder.

    Raises:
        OSError: The error that was caught, as the same class, with that sentence.
    """
    try:
        yield
    except OSError as error:
        sentence = write_error_sentence(error, folder, f"{setting}=…" if setting else "another folder")
        if sentence is None:
            raise
        raise type(error)(sentence) from error


def write_error_sentence(error: OSError, folder: Path, another: str) -> str | None:
    """Return a sentence that says why a write failed and what to do, or None for an error of another kind.

    Args:
        error: The system's error.
        folder: The folder that was written to.
        another: What the user can give instead.
    """
    reason = os.strerror(error.errno) if error.errno else ""
    if error.errno in _DISK_FULL:
        return (
            f"{folder} cannot be written: its disk is full ({reason}); free some room there, or give {another}, "
            "and run the same command again"
        )
    if error.errno in _NO_PERMISSION:
        return f"{folder} cannot be written ({reason}); give {another}, or the right to write there"
    if error.errno == errno.ENOTDIR:
        return f"{folder} cannot be made because part of its path is a file; give {another}"
    if error.errno == errno.EIO:
        return f"{folder} cannot be written: its disk is failing ({reason}); give {another}"
    return None


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield the path of a draft to write; when the block ends, it is synced to disk and replaces `path`.

    On an exception the draft is removed, and an earlier file stays.
    """
    draft = path.with_name(f"{path.name}.part")
    try:
        yield draft
        sync(draft)
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync(path.parent)


@contextmanager
def atomic_folder(folder: Path, required_files: Sequence[str]) -> Iterator[Path]:
    """Yield an empty folder to fill; when the block ends, it is synced to disk and replaces `folder`.

    On an exception the new folder is removed, and the earlier one stays. A process that is killed before the end leaves
    a hidden folder `.NAME-…` beside it. The next process that writes there removes it; if it holds the earlier folder,
    that folder is moved back first.

    Args:
        folder: The folder to write.
        required_files: Names of files by which a folder that may be replaced is recognised.

    Raises:
        FileExistsError: `folder` is not empty and lacks one of the `required_files`.
        OSError: The disk is full or not writable; the message says what to do.
    """
    folder = folder.resolve()  # a link stays a link
    with writing(folder):
        remove_drafts([folder.parent], folder.name)
        missing = next((name for name in required_files if not (folder / name).is_file()), None)
        if missing and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise FileExistsError(
                f"{folder} already exists and has no {missing} written by weakspot, so it is not replaced; "
                "give another folder"
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        lock, new, old = _acquire_lock(scratch), scratch / _NEW, scratch / _OLD
        try:
            new.mkdir()  # mkdtemp's own folder is closed to others
            yield new
            for path in new.rglob("*"):
                sync(path)
            sync(new)
            if folder.exists():
                folder.rename(old)
            new.rename(folder)
            sync(folder.parent)
        finally:
            if old.exists() and not folder.exists():
                old.rename(folder)
            if lock is not None:
                lock.release()
            shutil.rmtree(scratch, ignore_errors=True)


def remove_drafts(parents: Iterable[Path], name: str) -> None:
    """Remove the drafts of folders `name` that killed processes have left in the folders `parents`.

    If a process was killed after it had moved the earlier folder away, that folder is moved back.
    """
    for parent in parents:
        for scratch in parent.glob(f".{glob.escape(name)}-*"):
            with suppress(FileNotFoundError):  # another process removes it as well
                _remove_draft(scratch, parent / name)


def _remove_draft(scratch: Path, folder: Path) -> None:
    if not scratch.is_dir() or {path.name for path in scratch.iterdir()} - {_LOCK, _NEW, _OLD}:
        return  # not ours
    if not (scratch / _LOCK).exists() and time.time() - scratch.stat().st_mtime < _LOCK_DELAY:
        return
    lock = _acquire_lock(scratch)
    if lock is None:
        return
    if (scratch / _OLD).exists() and not folder.exists():
        (scratch / _OLD).rename(folder)
    lock.release()
    shutil.rmtree(scratch, ignore_errors=True)


def _acquire_lock(scratch: Path) -> FileLock | None:
    """Acquire the lock of a draft, which its process holds while it runs; return None if that is not possible."""
    lock = FileLock(scratch / _LOCK)
    try:
        lock.acquire(blocking=False)
    except (Timeout, NotImplementedError, OSError):  # held; or the file system has no locks
        return None
    return lock


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk itself."""
    if path.is_dir() and os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def checksum(path: Path) -> str:
    """Return the CRC-32 of a file's content as 8 hex digits, by which a damaged file is recognised."""
    crc = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            crc = zlib.crc32(block, crc)
    return f"{crc:08x}"
