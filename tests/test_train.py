"""Training: what is kept, resumed and refused."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from pytorch_lightning import Trainer, seed_everything

from weakspot.datasets.colored_digits import ColoredDigits
from weakspot.datasets.datamodule import DataModule
from weakspot.models.checkpoint import load_weights
from weakspot.models.small_cnn import SmallCNN
from weakspot.pipeline.groups import WorstGroupAccuracy, group_codes
from weakspot.pipeline.learner import Training
from weakspot.pipeline.train import is_interrupted, is_trained, train

CPU = functools.partial(Trainer, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False)


class InterruptedRunError(Exception):
    pass


def model():
    seed_everything(0, verbose=False)
    return SmallCNN(ColoredDigits("val").task, channels=(4, 8), embedding=8)


def fit(folder: Path, training: Training, make_trainer=CPU) -> Path:
    return train(model(), DataModule(ColoredDigits, seed=0), training, make_trainer, folder)


def test_a_checkpoint_loads_and_its_manifest_tells_how_well_it_did(tmp_path):
    checkpoint = fit(tmp_path / "store", Training(epochs=2))
    load_weights(model(), checkpoint)
    assert is_trained(tmp_path / "store")
    numbers = json.loads((tmp_path / "store" / "manifest.json").read_text())["last_epoch"]
    assert {"train/loss", "val/accuracy", "val/worst_group", "val/worst_colour"} <= numbers.keys()
    assert numbers["val/worst_group"] <= numbers["val/accuracy"]


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path):
    """Three epochs in one go, and three with an interruption after the second, end in the same weights."""

    def interrupted(**options):
        trainer = CPU(**options)
        loop = trainer.fit_loop.on_advance_end

        def stop():
            loop()
            if trainer.current_epoch == 1:
                raise InterruptedRunError

        trainer.fit_loop.on_advance_end = stop
        return trainer

    whole = fit(tmp_path / "whole", Training(epochs=3))
    with pytest.raises(InterruptedRunError):
        fit(tmp_path / "parts", Training(epochs=3), interrupted)
    assert is_interrupted(tmp_path / "parts")
    parts = fit(tmp_path / "parts", Training(epochs=3))

    def last(checkpoint):
        return torch.load(checkpoint.with_name("last.ckpt"), weights_only=True)["state_dict"]

    for name, tensor in last(whole).items():
        torch.testing.assert_close(tensor, last(parts)[name], msg=name)


def test_training_that_diverges_says_so_and_leaves_no_checkpoint(tmp_path):
    with pytest.raises(ValueError, match=r"smaller training\.learning_rate"):
        fit(tmp_path / "store", Training(epochs=1, optimizer="sgd", learning_rate=1e12))
    assert not is_trained(tmp_path / "store")


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_every_optimizer_and_schedule_lowers_the_loss(tmp_path, optimizer):
    rate = 0.05 if optimizer == "sgd" else 1e-3
    training = Training(
        epochs=2, optimizer=optimizer, learning_rate=rate, schedule="cosine", clip=1.0, patience=5
    )
    fit(tmp_path / "store", training)
    numbers = json.loads((tmp_path / "store" / "manifest.json").read_text())["last_epoch"]
    assert numbers["train/loss"] < np.log(2)


def test_the_worst_group_is_the_lowest_accuracy_of_those_that_occur():
    rng = np.random.default_rng(0)
    correct, group = rng.random(200) < 0.7, rng.integers(0, 4, 200)
    group[group == 2] = 3  # group 2 never occurs
    metric = WorstGroupAccuracy(4)
    for part in np.array_split(np.arange(200), 3):
        metric.update(torch.from_numpy(correct[part]), torch.from_numpy(group[part]))
    assert metric.compute().item() == pytest.approx(min(correct[group == g].mean() for g in (0, 1, 3)))


def test_groups_are_attributes_of_few_values():
    table = pa.table({"id": list("abcdef"), "name": list("uvwxyz"), "sex": list("fmfmfm"), "same": [1] * 6})
    codes = group_codes(table)
    assert list(codes) == ["sex"]
    np.testing.assert_array_equal(codes["sex"], [0, 1, 0, 1, 0, 1])
