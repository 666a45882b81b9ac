"""Training: what is kept, resumed and refused."""

from __future__ import annotations

import functools
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from pytorch_lightning import Callback

from cpu_trainer import CPU
from paths import ROOT
from processes import quiet_environment
from short_training import (
    FewDigits,
    InterruptedRunError,
    assert_same_result,
    manifest_of,
    model,
    stopping_after,
)
from weakspot.datasets.datamodule import DataModule
from weakspot.models.checkpoint import load_weights
from weakspot.models.small_cnn import SmallCNN
from weakspot.pipeline import slow_training
from weakspot.pipeline.checkpoint_files import is_interrupted, is_trained
from weakspot.pipeline.checkpoints import TrainingProgress
from weakspot.pipeline.group_metrics import GroupScores, groups_of
from weakspot.pipeline.train import train
from weakspot.pipeline.training_settings import TrainingSettings


def fit(folder: Path, training: TrainingSettings, make_trainer=CPU) -> Path:
    return train(model(), DataModule(FewDigits, seed=0), training, make_trainer, folder)


def test_a_checkpoint_loads_and_its_manifest_has_the_metrics(tmp_path):
    checkpoint = fit(tmp_path / "store", TrainingSettings(epochs=2))
    load_weights(model(), checkpoint)
    assert is_trained(tmp_path / "store")
    numbers = json.loads((tmp_path / "store" / "manifest.json").read_text())["last_epoch"]
    assert {"train/loss", "val/accuracy", "val/worst_group", "val/worst_colour"} <= numbers.keys()
    assert numbers["val/worst_group"] <= numbers["val/accuracy"]


@pytest.fixture(scope="module", params=["best", "last"])
def keep(request):
    return request.param


@pytest.fixture(scope="module")
def whole(keep, tmp_path_factory):
    """Three epochs in one go."""
    folder = tmp_path_factory.mktemp(f"whole-{keep}")
    fit(folder, TrainingSettings(epochs=3, keep=keep))
    return folder


def interrupt(folder: Path, training: TrainingSettings, make_trainer=CPU):
    """Stop the training after two epochs."""
    with pytest.raises(InterruptedRunError):
        fit(folder, training, stopping_after(2, make_trainer))
    assert is_interrupted(folder)
    assert TrainingProgress.read(folder / "last.ckpt").epoch == 2


def test_an_interrupted_run_resumes_where_it_stopped(tmp_path, whole, keep):
    interrupt(tmp_path / "parts", TrainingSettings(epochs=3, keep=keep))
    fit(tmp_path / "parts", TrainingSettings(epochs=3, keep=keep))
    assert_same_result(tmp_path / "parts", whole)


class KilledError(BaseException):
    pass


@pytest.mark.parametrize("write", [1, 2, 3, 4, 7])
def test_a_run_that_dies_while_writing_can_be_resumed(tmp_path, monkeypatch, whole, keep, write):
    """Two files an epoch, then the manifest: it dies just before one of them is put in its place."""
    replace, written = os.replace, []

    def dying(source, target):
        written.append(target)
        if len(written) == write:
            raise KilledError
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dying)
        with pytest.raises(KilledError):
            fit(tmp_path / "parts", TrainingSettings(epochs=3, keep=keep))
    assert not is_trained(tmp_path / "parts")
    fit(tmp_path / "parts", TrainingSettings(epochs=3, keep=keep))
    assert_same_result(tmp_path / "parts", whole)


def cut(path: Path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path):
    """Flip one bit of a weight."""
    with zipfile.ZipFile(path) as archive:
        weights = max(map(archive.read, archive.namelist()), key=len)
    content = bytearray(path.read_bytes())
    content[content.index(weights) + 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
def test_a_damaged_checkpoint_is_noticed(tmp_path, caplog, whole, keep, damage):
    folder = tmp_path / "parts"
    interrupt(folder, TrainingSettings(epochs=3, keep=keep))
    epoch = TrainingProgress.read(folder / "model.ckpt").epoch
    damage(folder / "last.ckpt")
    caplog.clear()
    fit(folder, TrainingSettings(epochs=3, keep=keep))
    assert_same_result(folder, whole)
    assert caplog.messages == [
        f"{folder / 'last.ckpt'} is missing or damaged; training resumes from model.ckpt, after epoch {epoch}"
    ]


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
def test_a_damaged_checkpoint_is_restored_from_the_last_epoch(tmp_path, caplog, damage):
    """The epoch to keep is the last one, so it is in both files."""
    interrupt(tmp_path, TrainingSettings(epochs=3, keep="last"))
    damage(tmp_path / "model.ckpt")
    caplog.clear()
    fit(tmp_path, TrainingSettings(epochs=3, keep="last"))
    assert (tmp_path / "model.ckpt").read_bytes() == (tmp_path / "last.ckpt").read_bytes()
    assert caplog.messages == []


def test_without_a_whole_checkpoint_training_starts_again(tmp_path, caplog, whole, keep):
    folder = tmp_path / "parts"
    interrupt(folder, TrainingSettings(epochs=3, keep=keep))
    cut(folder / "last.ckpt")
    flip(folder / "model.ckpt")
    caplog.clear()
    fit(folder, TrainingSettings(epochs=3, keep=keep))
    assert_same_result(folder, whole)
    assert caplog.messages == [
        f"no complete checkpoint is left in {folder}; training starts from the beginning"
    ]


def growing_worse(**options):
    """A trainer whose first epoch is the best by far."""

    class Worse(Callback):
        def on_validation_start(self, trainer, pl_module):
            if not trainer.sanity_checking and trainer.current_epoch:
                pl_module.model.output.bias.data[0] += 9

    return CPU(**options | {"callbacks": [Worse(), *options["callbacks"]]})


@pytest.mark.parametrize("lost", [False, True])
def test_the_best_epoch_is_kept_when_the_folder_is_copied(tmp_path, caplog, lost):
    training = TrainingSettings(epochs=3)
    fit(tmp_path / "whole", training, growing_worse)
    assert manifest_of(tmp_path / "whole")["kept_epoch"] != manifest_of(tmp_path / "whole")["last_epoch"]
    interrupt(tmp_path / "store", training, growing_worse)
    folder = shutil.copytree(tmp_path / "store", tmp_path / "copy")
    if lost:
        (folder / "model.ckpt").unlink()
    caplog.clear()
    fit(folder, training, growing_worse)
    assert_same_result(folder, tmp_path / "whole")
    again = f"{folder / 'model.ckpt'}, the best epoch so far, is missing or damaged; training starts from the beginning"
    assert caplog.messages == ([again] if lost else [])


def test_a_run_that_stopped_early_is_not_trained_further(tmp_path, monkeypatch):
    """It dies while writing the manifest, after the epoch that exhausted its patience."""
    training = TrainingSettings(epochs=9, patience=1)
    fit(tmp_path / "whole", training, growing_worse)
    with monkeypatch.context() as patch:
        patch.setattr("weakspot.pipeline.train.json.dumps", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            fit(tmp_path / "parts", training, growing_worse)
    fit(tmp_path / "parts", training, growing_worse)
    assert manifest_of(tmp_path / "parts")["epoch"] == 2
    assert_same_result(tmp_path / "parts", tmp_path / "whole")


def test_a_full_disk_keeps_the_earlier_epochs(tmp_path, whole, keep):
    """Files are limited to 10 kB, less than a checkpoint, so torch's writer raises the system's own error."""
    folder = tmp_path / "parts"
    interrupt(folder, TrainingSettings(epochs=3, keep=keep))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, most))
    try:
        with pytest.raises(OSError, match=r"model\.ckpt could not be written: File too large; make room"):
            fit(folder, TrainingSettings(epochs=3, keep=keep))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    fit(folder, TrainingSettings(epochs=3, keep=keep))
    assert_same_result(folder, whole)


KILLED = """
import os, signal, sys
sys.path[:0] = ["tests/pipeline", "tests/support"]
from pathlib import Path
from test_train import TrainingSettings, fit

flush, flushed = os.fsync, []

def deadly(descriptor):
    flushed.append(descriptor)
    if len(flushed) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    flush(descriptor)

os.fsync = deadly
fit(Path(sys.argv[1]), TrainingSettings(epochs=3, keep=sys.argv[3]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "flush", [7, pytest.param(13, marks=pytest.mark.optional)]
)  # file and folder, twice an epoch: 7 is in the second epoch, 13 at the manifest
def test_a_killed_process_loses_only_the_current_epoch(tmp_path, whole, keep, flush):
    folder = tmp_path / "parts"
    command = [sys.executable, "-c", KILLED, str(folder), str(flush), keep]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}  # sums depend on how many there are
    killed = subprocess.run(command, cwd=ROOT, env=quiet_environment() | threads, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert is_interrupted(folder)
    assert list(folder.glob("*.part"))
    fit(folder, TrainingSettings(epochs=3, keep=keep))
    assert_same_result(folder, whole)


def test_training_that_diverges_is_reported_and_leaves_no_checkpoint(tmp_path):
    with pytest.raises(ValueError, match=r"smaller training\.learning_rate"):
        fit(tmp_path / "store", TrainingSettings(epochs=1, optimizer="sgd", learning_rate=1e12))
    assert not is_trained(tmp_path / "store")


def test_validation_within_an_epoch_may_find_the_best_one(tmp_path):
    """The first of two validations in an epoch is the better one, so its weights are kept."""

    class Worse(Callback):
        def on_validation_end(self, trainer, pl_module):
            if not trainer.sanity_checking:
                pl_module.model.output.bias.data[0] += 9

    def twice(**options):
        return CPU(**options | {"callbacks": [*options["callbacks"], Worse()], "val_check_interval": 0.67})

    training = TrainingSettings(epochs=2)
    fit(tmp_path / "whole", training, twice)
    kept = TrainingProgress.read(tmp_path / "whole" / "model.ckpt")
    assert kept.epoch == 0
    assert manifest_of(tmp_path / "whole")["val_loss"] == kept.metrics["val/loss"] < 1
    assert TrainingProgress.read(tmp_path / "whole" / "last.ckpt").metrics["val/loss"] > 1


def test_training_without_validation_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="training ended without a validation"):
        fit(tmp_path, TrainingSettings(epochs=1), functools.partial(CPU, check_val_every_n_epoch=2))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_every_optimizer_and_schedule_lowers_the_loss(tmp_path, optimizer):
    rate = 0.05 if optimizer == "sgd" else 1e-3
    training = TrainingSettings(
        epochs=2, optimizer=optimizer, learning_rate=rate, schedule="cosine", clip=1.0, patience=5
    )
    fit(tmp_path / "store", training)
    numbers = json.loads((tmp_path / "store" / "manifest.json").read_text())["last_epoch"]
    assert numbers["train/loss"] < np.log(2)


def test_groups_are_scored_by_their_own_rows_and_absent_groups_are_not_scored():
    rng = np.random.default_rng(0)
    losses, correct, group = rng.random(200), rng.random(200) < 0.7, rng.integers(0, 4, 200)
    group[group == 2] = 3  # group 2 never occurs
    metric = GroupScores(4)
    for part in np.array_split(np.arange(200), 3):
        metric.update(*(torch.from_numpy(column[part]) for column in (losses, correct, group)))
    accuracies, means = (values.numpy() for values in metric.compute())
    for g in (0, 1, 3):
        assert accuracies[g] == pytest.approx(correct[group == g].mean())
        assert means[g] == pytest.approx(losses[group == g].mean())
    assert np.isnan([accuracies[2], means[2]]).all()
    metric.update(torch.from_numpy(losses), None, torch.from_numpy(group))
    assert np.isnan(metric.compute()[0].numpy()).all()


def test_groups_are_attributes_of_few_values():
    table = pa.table(
        {
            "id": list("abcdef"),
            "name": list("uvwxyz"),
            "sex": list("fmfmfm"),
            "same": [1] * 6,
            "glasses": [True, False, None] * 2,
        }
    )
    groups = groups_of(table)
    assert list(groups) == ["sex", "glasses"]
    np.testing.assert_array_equal(groups["sex"].codes, [0, 1, 0, 1, 0, 1])
    assert (groups["sex"].values, groups["glasses"].values) == (("f", "m"), ("yes", "no", "(missing)"))


def test_the_metrics_of_every_group_match_a_plain_loop(tmp_path):
    folder = tmp_path / "store"
    checkpoint = fit(folder, TrainingSettings(epochs=1, keep="last"))
    told = json.loads((folder / "manifest.json").read_text())["last_epoch"]
    net, data = model(), FewDigits("val")
    load_weights(net, checkpoint)
    x = torch.stack([data[row]["input"] for row in range(len(data))])
    with torch.no_grad():
        logits = net.eval()(x)
    y = torch.as_tensor(data.targets)
    losses = torch.nn.functional.cross_entropy(logits, y, reduction="none").numpy()
    right = (logits.argmax(dim=1) == y).numpy()
    for attribute in ("digit", "colour", "group"):
        column = np.array(data.examples[attribute].to_pylist()).astype(str)
        accuracies = {}
        for value in np.unique(column):
            accuracies[value] = right[column == value].mean()
            assert told[f"val/{attribute}={value}/accuracy"] == pytest.approx(accuracies[value])
            assert told[f"val/{attribute}={value}/loss"] == pytest.approx(
                losses[column == value].mean(), rel=1e-4
            )
        assert told[f"val/worst_{attribute}"] == pytest.approx(min(accuracies.values()))


class LargeCNN(SmallCNN):
    """Stands for a network that is slow on a CPU."""


@pytest.mark.parametrize(
    ("kind", "faster"),
    [
        (LargeCNN, "model=small_cnn, smaller images (dataset.size=), fewer epochs (training.epochs=), a GPU"),
        (SmallCNN, "smaller images (dataset.size=), fewer epochs (training.epochs=), a GPU"),
    ],
)
def test_a_training_that_will_take_long_is_reported_at_its_first_batches(
    kind, faster, tmp_path, monkeypatch, caplog
):
    data = DataModule(FewDigits, seed=0)
    net = kind(data.dataset("val").task, channels=(4, 8), embedding=8)

    def said_where_a_batch_takes(seconds):
        clock = itertools.count(step=seconds)
        monkeypatch.setattr(slow_training, "time", SimpleNamespace(monotonic=lambda: next(clock)))
        caplog.clear()
        train(net, data, TrainingSettings(epochs=2), CPU, tmp_path / f"{seconds} s")
        return [message for message in caplog.messages if message.startswith("training will take")]

    with caplog.at_level("INFO"):
        assert said_where_a_batch_takes(10) == []
        (said,) = said_where_a_batch_takes(300)
    # Two epochs of three batches: after two for warm-up and one that is timed, three are left.
    assert "about 15 min on this CPU (300.0 s a batch, 3 batches an epoch, 2 epochs at most)" in said
    assert said.endswith(f"; faster: {faster}")
