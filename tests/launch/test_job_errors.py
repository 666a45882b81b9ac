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
            "No space left on device, probably on the disk of outputs/discover/today: free some room there, or give "
            "another folder (hydra.run.dir=…); with HYDRA_FULL_ERROR=1 the same command shows where it arose",
        ),
        (  # as where a container has no semaphores: it says nothing of the run's folder
            refused(errno.EACCES),
            "Permission denied (in a run of outputs/discover/today); with HYDRA_FULL_ERROR=1 the same command shows "
            "where it arose",
        ),
        (
            refused(errno.EROFS, "caches/a/b.bin"),
            "caches/a cannot be written (Read-only file system); give another folder, or the right to write there",
        ),
        (
            refused(errno.EACCES, "pictures/1.png"),
            "pictures/1.png: Permission denied; with HYDRA_FULL_ERROR=1 the same command shows where it arose",
        ),
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


def test_a_missing_value_is_a_sentence_unless_a_traceback_is_asked_for(shell):
    words = ("model=text_classifier", "logger=none")
    assert "\nmodel.name must be given: add model.name=… to the command\n" in shell("infer", *words, fails=2)
    said = shell("infer", *words, fails=1, HYDRA_FULL_ERROR="1")
    assert "omegaconf.errors.MissingMandatoryValue: Missing mandatory value: model.name" in said
