"""A training of three steps per epoch that may be interrupted, and a comparison of the results of two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import seed_everything

from cpu_trainer import CPU
from weakspot.datasets.colored_digits import ColoredDigits
from weakspot.models.small_cnn import SmallCNN


class InterruptedRunError(Exception):
    pass


class FewDigits(ColoredDigits):
    """The first 180 of them: three steps per epoch."""

    def __init__(self, split):
        super().__init__(split)
        self.targets, self.examples = self.targets[:180], self.examples[:180]


def model():
    seed_everything(0, verbose=False)
    return SmallCNN(ColoredDigits("val").task, channels=(4, 8), embedding=8)


def stopping_after(epochs: int, make_trainer=CPU):
    """A maker of trainers that die after so many epochs."""

    def make(**options):
        trainer = make_trainer(**options)
        loop = trainer.fit_loop.on_advance_end

        def stop():
            loop()
            if trainer.current_epoch == epochs:
                raise InterruptedRunError

        trainer.fit_loop.on_advance_end = stop
        return trainer

    return make


def weights_of(checkpoint: Path, name: str) -> dict[str, torch.Tensor]:
    return torch.load(checkpoint.with_name(name), weights_only=True)["state_dict"]


def assert_same_result(folder: Path, whole: Path):
    """Assert that both folders hold the same weights, the same numbers and nothing unfinished."""
    for name in ("last.ckpt", "model.ckpt"):
        ours, theirs = weights_of(folder / "model.ckpt", name), weights_of(whole / "model.ckpt", name)
        for key, tensor in theirs.items():
            torch.testing.assert_close(ours[key], tensor, msg=f"{name}: {key}", rtol=0, atol=0)
    assert manifest_of(folder) == manifest_of(whole)
    assert sorted(path.name for path in folder.iterdir()) == ["last.ckpt", "manifest.json", "model.ckpt"]


def manifest_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())
