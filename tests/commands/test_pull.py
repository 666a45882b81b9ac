"""What a job takes from the stores and what it makes anew: damaged records, read-only disks, leftovers."""

from __future__ import annotations

import errno
import functools
import os
from pathlib import Path

import filelock
import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer, seed_everything

from weakspot.datasets.digits import Digits
from weakspot.models.small_cnn import SmallCNN
from weakspot.pipeline import discover as discover_module
from weakspot.pipeline import upstream as plan
from weakspot.pipeline.audit_target import AuditTarget, Component
from weakspot.pipeline.store_folders import checkpoint_folder
from weakspot.pipeline.training_settings import TrainingSettings
from weakspot.pipeline.upstream import pull_predictions

CPU = functools.partial(Trainer, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False)


@pytest.fixture
def target(tmp_path):
    """The digits and a network with given weights."""
    small = functools.partial(SmallCNN, channels=(4, 8), embedding=8)
    seed_everything(0, verbose=False)
    torch.save(small(Digits("test").task).state_dict(), tmp_path / "weights.pt")
    return AuditTarget(
        Component("digits", {}, Digits),
        Component("small_cnn", {}, small),
        TrainingSettings(),
        CPU,
        checkpoint=str(tmp_path / "weights.pt"),
        predictions_dir=tmp_path / "predictions",
    )


def the_folder(target) -> Path:
    (folder,) = (path.parent for path in target.predictions_dir.glob("*/manifest.json"))
    return folder


@pytest.mark.parametrize("name", ["arrays.safetensors", "records.parquet"])
@pytest.mark.parametrize("kind", ["flipped", "missing"])
def test_a_damaged_record_is_set_aside_and_inferred_again(target, name, kind, caplog):
    before = pull_predictions(target)
    file = the_folder(target) / name
    if kind == "missing":
        file.unlink()
    else:
        content = bytearray(file.read_bytes())
        content[-100] ^= 1
        file.write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=name):
        pull_predictions(target, upstream="require")
    assert the_folder(target) == file.parent
    with caplog.at_level("WARNING"):
        again = pull_predictions(target)
    np.testing.assert_array_equal(again.embeddings, before.embeddings)
    (sentence,) = (record.getMessage() for record in caplog.records if record.name == plan.__name__)
    assert name in sentence
    assert sentence.endswith(f"set aside as {file.parent}.damaged and inferred again")
    assert (file.parent.with_name(f"{file.parent.name}.damaged") / "manifest.json").is_file()


def refusing(number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number), "somewhere/.locks/x")

    return refuse


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_complete_record_needs_no_lock(target, number, monkeypatch):
    """A store on a read-only disk serves its records; if one is missing, the error says what to do."""
    with monkeypatch.context() as patch:
        patch.setattr(filelock.FileLock, "acquire", refusing(number))
        with pytest.raises(
            OSError, match=r"predictions cannot be written \(.*\); give predictions_dir=…, or the right"
        ):
            pull_predictions(target)
    pull_predictions(target)
    monkeypatch.setattr(filelock.FileLock, "acquire", refusing(number))
    monkeypatch.setattr(Path, "mkdir", refusing(number))
    assert len(pull_predictions(target)) == len(Digits("test"))


def test_a_trained_checkpoint_needs_no_lock(target, tmp_path, monkeypatch):
    import dataclasses

    target = dataclasses.replace(target, checkpoint="auto", checkpoints_dir=tmp_path / "checkpoints")
    with monkeypatch.context() as patch:
        patch.setattr(filelock.FileLock, "acquire", refusing(errno.EROFS))
        with pytest.raises(
            OSError, match=r"checkpoints cannot be written \(.*\); give checkpoints_dir=…, or the right"
        ):
            plan.pull_checkpoint(target)
    folder = checkpoint_folder(target)
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    (folder / "model.ckpt").write_text("")
    monkeypatch.setattr(filelock.FileLock, "acquire", refusing(errno.EROFS))
    assert plan.pull_checkpoint(target) == folder / "model.ckpt"


def test_leftovers_of_killed_runs_are_removed_by_the_next_run(tmp_path, monkeypatch):
    """Each run has its own folder, so the neighbouring folders are searched."""
    killed = tmp_path / "first run" / ".slices-k1ll3d"
    (killed / "new").mkdir(parents=True)
    (killed / "lock").touch()
    (tmp_path / "a file").touch()

    class SearchedError(Exception):
        pass

    def search(*_):
        raise SearchedError

    monkeypatch.setattr(discover_module, "search", search)
    with pytest.raises(SearchedError):
        discover_module.discover(None, None, tmp_path / "second run")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a file", "first run"]
