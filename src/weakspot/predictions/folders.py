"""Files and folders of ours on disk: there whole or not at all, whatever is killed and wherever a disk is full."""

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

_LOCK = "lock"
_NEW = "new"
_OLD = "old"
_JUST_MADE = 60.0  # seconds in which a draft has its lock
_BLOCK = 1 << 20

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def writing(folder: Path, setting: str | None = None) -> Iterator[None]:
    """Turn what a disk refuses inside the block into one sentence: which folder, why, and what to do.

    Args:
        folder: Where the block writes.
        setting: The word on the command line that names another folder.

    Raises:
        OSError: Of the kind that was caught, with that sentence.
    """
    try:
        yield
    except OSError as error:
        sentence = refusal(error, folder, f"{setting}=…" if setting else "another folder")
        if sentence is None:
            raise
        raise type(error)(sentence) from error


def refusal(error: OSError, folder: Path, another: str) -> str | None:
    """What a disk refuses in one sentence, or None where the error is of another kind.

    Args:
        error: The system's.
        folder: Where something was written.
        another: What to give instead of it.
    """
    reason = os.strerror(error.errno) if error.errno else ""
    if error.errno in _FULL:
        return (
            f"{folder} cannot be written, its disk is full ({reason}); free some room there, or give {another}, "
            "and run the same command again"
        )
    if error.errno in _CLOSED:
        return f"{folder} cannot be written ({reason}); give {another}, or the right to write there"
    if error.errno == errno.ENOTDIR:
        return f"{folder} cannot be made, a part of its path is a file; give {another}"
    if error.errno == errno.EIO:
        return f"{folder} cannot be written, its disk fails ({reason}); give {another}"
    return None


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A draft to write; when the block ends it is on the disk and takes the place of `path`.

    On an exception the draft goes and what was there stays.
    """
    draft = path.with_name(f"{path.name}.part")
    try:
        yield draft
        settle(draft)
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    settle(path.parent)


@contextmanager
def replaced(folder: Path, marks: Sequence[str]) -> Iterator[Path]:
    """An empty folder to fill; when the block ends it is on the disk and takes the place of `folder`.

    On an exception the new folder goes and what was there stays. A process killed on the way leaves a hidden
    folder `.NAME-…` beside it; the next one that writes there takes it away, or back where it holds what was
    there before.

    Raises:
        FileExistsError: Where `folder` holds something without the files `marks`, by which ours are known.
        OSError: Where the disk is full or refuses, in a sentence that says what to do.
    """
    folder = folder.resolve()  # a link stays a link
    with writing(folder):
        sweep([folder.parent], folder.name)
        ours = all((folder / mark).is_file() for mark in marks)
        if folder.exists() and not ours and (not folder.is_dir() or any(folder.iterdir())):
            raise FileExistsError(
                f"{folder} already exists and has no {marks[0]} of ours, so it is not replaced; "
                "give another folder"
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        lock, new, old = _locked(scratch), scratch / _NEW, scratch / _OLD
        try:
            new.mkdir()  # mkdtemp's own folder is closed to others
            yield new
            for path in new.rglob("*"):
                settle(path)
            settle(new)
            if folder.exists():
                folder.rename(old)
            new.rename(folder)
            settle(folder.parent)
        finally:
            if old.exists() and not folder.exists():
                old.rename(folder)
            if lock is not None:
                lock.release()
            shutil.rmtree(scratch, ignore_errors=True)


def sweep(parents: Iterable[Path], name: str) -> None:
    """Take away what killed processes have left of folders `name` in the folders `parents`.

    Where one was killed between taking the earlier folder away and putting the new one in its place, the
    earlier one comes back.
    """
    for parent in parents:
        for scratch in parent.glob(f".{glob.escape(name)}-*"):
            with suppress(FileNotFoundError):  # another process sweeps as well
                _sweep(scratch, parent / name)


def _sweep(scratch: Path, folder: Path) -> None:
    if not scratch.is_dir() or {path.name for path in scratch.iterdir()} - {_LOCK, _NEW, _OLD}:
        return  # not ours
    if not (scratch / _LOCK).exists() and time.time() - scratch.stat().st_mtime < _JUST_MADE:
        return
    lock = _locked(scratch)
    if lock is None:
        return
    if (scratch / _OLD).exists() and not folder.exists():
        (scratch / _OLD).rename(folder)
    lock.release()
    shutil.rmtree(scratch, ignore_errors=True)


def _locked(scratch: Path) -> FileLock | None:
    """The lock of a draft, by which the process that writes it is known to live; None where it cannot be had."""
    lock = FileLock(scratch / _LOCK)
    try:
        lock.acquire(blocking=False)
    except (Timeout, NotImplementedError, OSError):  # held; or the file system has no locks
        return None
    return lock


def settle(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk itself before going on."""
    if path.is_dir() and os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def checksum(path: Path) -> str:
    """CRC-32 of a file's content, as 8 hex digits: tells a damaged file from a sound one."""
    found = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found = zlib.crc32(block, found)
    return f"{found:08x}"
