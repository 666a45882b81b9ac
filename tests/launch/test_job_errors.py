"""Errors that end a job, such as those of the operating system, in one sentence."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from unittest.mock import Mock

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from weakspot.launch import job_errors
from weakspot.predictions.atomic_files import RUN_FOLDER, writing

RUN = Path("outputs/discover/today")


def refused(number: int, name: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), name) if name else OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            refused(errno.ENOSPC),
            "No space left on device, probably on the disk of outputs/discover/today: free some room there, or give "
            "another folder (hydra.run.dir=…, with -m hydra.sweep.dir=…); with HYDRA_FULL_ERROR=1 the same command "
            "shows where it arose",
        ),
        (  # as in a container without semaphores: it says nothing about the run's folder
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
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "),
            "DataLoader worker (pid 7) is killed by signal: Killed, perhaps for lack of memory: num_workers=0 loads "
            "data without further processes",
        ),
        (
            RuntimeError("DataLoader worker (pid(s) 7, 8) exited unexpectedly"),
            "DataLoader worker (pid(s) 7, 8) exited unexpectedly, perhaps for lack of memory: num_workers=0 loads",
        ),
        (
            RuntimeError(
                "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers "
                "are out of shared memory. Please try to raise your shared memory limit."
            ),
            "DataLoader worker (pid 7) is killed by signal: Bus error, perhaps for lack of memory: num_workers=0 loads",
        ),
    ],
)
def test_an_unexplained_system_error_is_one_sentence(error, sentence, monkeypatch):
    monkeypatch.setattr(job_errors, "run_folder", lambda: RUN)
    said = job_errors.sentence_of(error)
    assert said is not None
    assert said.startswith(sentence)
    assert "Errno" not in said


@pytest.mark.parametrize(
    "said",
    [
        "is killed by signal: Segmentation fault. ",
        "exited unexpectedly with exit code 1. Details are lost due to multiprocessing. Rerunning with num_workers=0 "
        "may give better error trace.",
    ],
)
def test_a_data_loading_process_that_crashes_or_exits_has_no_sentence(said):
    assert job_errors.sentence_of(RuntimeError(f"DataLoader worker (pid 7) {said}")) is None


def test_a_missing_value_is_one_sentence_unless_a_traceback_is_requested(shell):
    words = ("model=text_classifier", "logger=none")
    assert "\nmodel.name must be given: add model.name=… to the command\n" in shell("infer", *words, fails=2)
    said = shell("infer", *words, fails=1, HYDRA_FULL_ERROR="1")
    assert "omegaconf.errors.MissingMandatoryValue: Missing mandatory value: model.name" in said


@pytest.mark.parametrize(
    ("mode", "error"), [(RunMode.RUN, job_errors.UserError), (RunMode.MULTIRUN, job_errors.JobError)]
)
def test_a_job_ends_with_the_original_sentence(mode, error, monkeypatch, tmp_path):
    """A command quoted in it can be typed again; the settings for another folder are given for runs and for sweeps."""
    monkeypatch.setattr(HydraConfig, "get", lambda: OmegaConf.create({"mode": mode}))
    monkeypatch.setattr(job_errors, "has_begun", lambda: True)
    monkeypatch.setattr(job_errors, "write_outcome", Mock())
    quoting = "its command was `python discover.py hydra.run.dir=mine`"
    with pytest.raises(error) as failed, job_errors.errors_as_sentences("discover"):
        raise ValueError(quoting)
    assert quoting in getattr(failed.value, "sentence", str(failed.value))
    with (
        pytest.raises(error) as failed,
        job_errors.errors_as_sentences("discover"),
        writing(tmp_path, RUN_FOLDER),
    ):
        raise refused(errno.ENOSPC)
    said = getattr(failed.value, "sentence", str(failed.value))
    assert "or give hydra.run.dir=…, with -m hydra.sweep.dir=…, and run" in said
