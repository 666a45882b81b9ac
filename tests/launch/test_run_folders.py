"""The folders of runs: which are kept, and which are removed."""

from __future__ import annotations

import errno
import os

import numpy as np

from weakspot.launch.run_folders import explain_run_folder

FAILS = ("predictions=typo.npz", "logger=none")


def test_a_run_has_not_begun_if_only_an_earlier_one_in_its_folder_has(shell):
    rng = np.random.default_rng(0)
    np.savez(shell.folder / "my.npz", embeddings=rng.normal(size=(200, 2)), losses=rng.exponential(size=200))
    where = ("hydra.run.dir=runs", "hydra.sweep.dir=runs", "hydra.sweep.subdir=.")
    shell("discover", "predictions=my.npz", "logger=none", "method=kmeans", *where)
    assert shell("discover", *FAILS, *where, fails=2).endswith("\nno predictions at typo.npz\n")
    assert "run . failed: no predictions at typo.npz\n" in shell("discover", "-m", *FAILS, *where, fails=2)
    assert "Traceback" not in (shell.folder / "runs/discover.log").read_text()
    assert (shell.folder / "runs/findings.json").is_file()


def test_only_folders_that_were_made_for_a_run_are_removed(shell):
    mine = shell.folder / "mine/results"
    mine.mkdir(parents=True)
    for folder in ("mine/results/a/b", "mine/results", "outputs/b"):
        shell("discover", *FAILS, f"hydra.run.dir={folder}", fails=2)
    assert list(shell.folder.rglob("*")) == [shell.folder / "mine", mine]
    # the folder's name refers to Hydra's own configuration
    shell("train", "model=text_classifier", "logger=none", fails=2)
    assert list(shell.folder.iterdir()) == [shell.folder / "mine"]


def test_a_folder_that_cannot_be_made_for_a_later_run_of_a_sweep_is_one_sentence(shell):
    """For example, because the disk is full by then; the table shows the runs before it."""
    (shell.folder / "swept").mkdir()
    (shell.folder / "swept/1").write_text("in the way")
    said = shell("discover", "-m", *FAILS, "seed=1,2", "hydra.sweep.dir=swept", fails=1)
    assert "run 0 (seed=1) failed: no predictions at typo.npz\n" in said
    assert (
        "\nthe run's folder cannot be made (File exists: swept/1); run it in a folder that can be written to, or say "
        "where: hydra.sweep.dir=…\n"
    ) in said


def test_a_folder_in_place_of_the_log_file_is_kept(shell):
    (shell.folder / "mine/discover.log").mkdir(parents=True)
    said = shell("discover", *FAILS, "hydra.run.dir=mine", fails=2)
    assert "Traceback" not in said
    assert (shell.folder / "mine/discover.log").is_dir()


def test_a_folder_that_cannot_be_made_is_named_if_its_name_is_known():
    full = errno.ENOSPC, os.strerror(errno.ENOSPC)
    assert "cannot be made (No space left on device); run" in explain_run_folder(
        OSError(*full), "hydra.run.dir"
    )
    named = explain_run_folder(OSError(*full, "/full/disk"), "hydra.run.dir")
    assert "cannot be made (No space left on device: /full/disk); run" in named
