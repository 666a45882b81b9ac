"""What names a folder of the stores: everything that changes a result, and nothing else."""

from __future__ import annotations

import pytest
from pytorch_lightning import Trainer

from weakspot.datasets.digits import Digits
from weakspot.models.small_cnn import SmallCNN
from weakspot.pipeline.learner import Training
from weakspot.pipeline.plan import Named, Subject
from weakspot.tasks import Classification

FIRST = ("logger=none", "training.epochs=1", "trainer.limit_train_batches=1", "training.batch_size=32")


def made(shell, *words, script="train"):
    """Which steps ran."""
    text = shell(script, *FIRST, *words)
    return [step for step in ("train", "infer") if f"{step} → outputs" in text]


@pytest.mark.slow
def test_what_changes_a_result_changes_the_key_and_what_does_not_does_not(shell):
    assert made(shell) == ["train"]
    for same in ("trainer=cpu", "num_workers=1", "dataset.spotlight_size=0.3"):
        assert made(shell, same) == [], same
    for other in (
        "seed=1",
        "trainer.limit_train_batches=2",
        "training.keep=best",
        "trainer.precision=bf16-mixed",
    ):
        assert made(shell, other) == ["train"], other


def subject(*names: str, **by_split: tuple[str, ...]) -> Subject:
    """The digits, under these names of their classes."""

    def make(split: str) -> Digits:
        dataset = Digits(split)
        dataset.task = Classification(by_split.get(split, names))
        return dataset

    named = Named("digits", {}, make)
    return Subject(named, Named("small_cnn", {}, SmallCNN), Training(), Trainer)


def test_other_classes_are_another_result() -> None:
    digits, letters = subject(*"0123456789"), subject(*"abcdefghij")
    assert digits.checkpoint_folder() == subject(*"0123456789").checkpoint_folder()
    assert digits.checkpoint_folder() != letters.checkpoint_folder()
    assert digits.predictions_folder("same weights") != letters.predictions_folder("same weights")


def test_splits_of_other_classes_are_refused() -> None:
    odd = subject(*"0123456789", val=tuple("012345678"))
    with pytest.raises(
        ValueError, match="train and val of dataset=digits have not the same classes: 10 and 9"
    ):
        odd.checkpoint_folder()


NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.ReLU(), nn.Flatten())
        self.fc = nn.Linear(4 * 8 * 8, num_classes)

    def forward(self, x):
        return self.fc(self.body(SCALE * x))
"""


@pytest.mark.slow
def test_an_edited_network_is_another_network(shell):
    words = ("model=module", "model.path=net:Net", "model.head=fc")
    source = shell.folder / "net.py"
    source.write_text("SCALE = 1\n" + NET)
    assert made(shell, *words, script="infer") == ["train", "infer"]
    assert made(shell, *words, "model.cam_layer=body", script="infer") == []
    source.write_text("SCALE = 2\n" + NET)
    assert made(shell, *words, script="infer") == ["train", "infer"]
    assert made(shell, *words, "checkpoint=pretrained", script="infer") == ["infer"]
    assert made(shell, *words, "checkpoint=pretrained", script="infer") == []
    assert made(shell, *words, "checkpoint=pretrained", "seed=1", script="infer") == ["infer"]
