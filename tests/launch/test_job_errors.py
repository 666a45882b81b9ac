"""The errors that end a job: what the operating system refuses, in one sentence."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from weakspot.launch import job_errors

RUN = Path("outputs/discover/today")


def refused(number: int, name: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), name) if name else OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            refused(errno.ENOSPC),
            "outputs/discover/today cannot be written, its disk is full (No space left on device); free some room "
            "there, or give another folder (hydra.run.dir=…), and run the same command again",
        ),
        (
            refused(errno.EROFS, "caches/a/b.bin"),
            "caches/a cannot be written (Read-only file system); give another folder, or the right to write there",
        ),
        (refused(errno.EACCES, "pictures/1.png"), "pictures/1.png: Permission denied"),
        (refused(errno.ENOENT, "pictures/1.png"), "pictures/1.png: No such file or directory"),
        (refused(errno.EIO, "pictures/1.png"), "pictures/1.png: Input/output error"),
        (refused(errno.EMFILE), "Too many open files (in a run of outputs/discover/today)"),
        (OSError("said already"), "said already"),
    ],
)
def test_an_error_of_the_system_that_nobody_explained(error, sentence, monkeypatch):
    monkeypatch.setattr(job_errors, "run_folder", lambda: RUN)
    said = job_errors.sentence_of(error)
    assert said is not None
    assert said.startswith(sentence)
    assert "Errno" not in said
