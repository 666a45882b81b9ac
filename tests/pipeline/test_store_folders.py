"""The name of a folder in the stores depends on everything that changes a result, and on nothing else."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning import Trainer

from weakspot.datasets.csv import open_table
from weakspot.datasets.digits import Digits
from weakspot.datasets.image_folder import ImageFolder
from weakspot.identity import content_identity, source_digest
from weakspot.models.small_cnn import SmallCNN
from weakspot.pipeline.audit_target import AuditTarget, Component
from weakspot.pipeline.store_folders import checkpoint_folder, predictions_folder
from weakspot.pipeline.training_settings import TrainingSettings
from weakspot.tasks import Classification

FIRST = ("logger=none", "training.epochs=1", "trainer.limit_train_batches=1", "training.batch_size=32")


def made(shell, *words, script="train"):
    """Return the steps that ran."""
    text = shell(script, *FIRST, *words)
    return [step for step in ("train", "infer") if f"{step} → outputs" in text]


@pytest.mark.slow
def test_the_key_changes_only_with_settings_that_change_the_result(shell):
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


def target(*names: str, **by_split: tuple[str, ...]) -> AuditTarget:
    """The digits, under these names of their classes."""

    def make(split: str) -> Digits:
        dataset = Digits(split)
        dataset.task = Classification(by_split.get(split, names))
        return dataset

    named = Component("digits", {}, make)
    return AuditTarget(named, Component("small_cnn", {}, SmallCNN), TrainingSettings(), Trainer)


def test_other_classes_change_the_key() -> None:
    digits, letters = target(*"0123456789"), target(*"abcdefghij")
    assert checkpoint_folder(digits) == checkpoint_folder(target(*"0123456789"))
    assert checkpoint_folder(digits) != checkpoint_folder(letters)
    assert predictions_folder(digits, "same weights") != predictions_folder(letters, "same weights")


def test_splits_with_different_classes_are_refused() -> None:
    odd = target(*"0123456789", val=tuple("012345678"))
    with pytest.raises(
        ValueError, match="train and val of dataset=digits do not have the same classes: 10 and 9"
    ):
        checkpoint_folder(odd)


NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes, weights=None):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.ReLU(), nn.Flatten())
        self.fc = nn.Linear(4 * 8 * 8, num_classes)
        if weights is not None:
            self.load_state_dict(torch.load(weights, weights_only=True))

    def forward(self, x):
        return self.fc(self.body(SCALE * x))
"""


@pytest.mark.slow
def test_an_edited_network_is_trained_again(shell):
    words = ("model=module", "model.path=net:Net", "model.head=fc")
    source = shell.folder / "net.py"
    source.write_text("SCALE = 1\n" + NET)
    assert made(shell, *words, script="infer") == ["train", "infer"]
    assert made(shell, *words, "model.cam_layer=body", script="infer") == []
    where = (
        "model.embed_layer=cam_layer",
        "model.cam_layer=",
    )  # model.cam_layer then decides what is inferred
    for layer in ("body.0", "body.1"):
        assert made(shell, *words, where[0], where[1] + layer, script="infer") == ["infer"]
        assert made(shell, *words, where[0], where[1] + layer, script="infer") == []
    source.write_text("SCALE = 2\n" + NET)
    assert made(shell, *words, script="infer") == ["train", "infer"]
    given = ("checkpoint=pretrained", "model.kwargs={weights: net.pt}")
    namespace: dict[str, Any] = {}
    exec(source.read_text(), namespace)
    for _ in range(2):  # a network used as built is identified by its weights
        torch.save(namespace["Net"](2).state_dict(), shell.folder / "net.pt")
        assert made(shell, *words, *given, script="infer") == ["infer"]
        assert made(shell, *words, *given, "seed=1", script="infer") == []
    text = shell("infer", *FIRST, *words, "checkpoint=pretrained", fails=True)
    assert "the last layer of model=module is random" in text


USERS = """
from pathlib import Path

import torch
from layers import head

from weakspot.datasets.digits import Digits
from weakspot.models.base import Model


class Net(Model):
    no_difference = Model.no_difference | {"colour_of_plots"}

    def __init__(self, task, file=None, width=4, colour_of_plots="red"):
        super().__init__()
        self.embedding_size = 3 * width * width
        self.linear = head(self.embedding_size, task.n_outputs)
        self.pool = torch.nn.AdaptiveAvgPool2d(width)
        if file is not None:
            self.linear.weight.data.fill_(float(Path(file).read_text()))

    cam_layer = None

    def embed(self, x):
        return self.pool(x).flatten(1)

    def head(self, z):
        return self.linear(z)


class Data(Digits):
    def __init__(self, split, root=None, file=None, invert=False):
        super().__init__(split, root)
        self.scale = 1 if file is None else float(Path(file).read_text())  # which no fingerprint tells of


def make_data(split, blur=0, **settings):
    return Data(split, **settings)
"""
LAYERS = """
import torch

head = torch.nn.Linear


def unused():
    return None
"""


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A user's module with a model and a dataset, beside a second module that it imports."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "layers.py").write_text(
        LAYERS.replace("torch.nn.Linear", "lambda d, n: torch.nn.Linear(d, n)")
    )
    (tmp_path / "code" / "users.py").write_text(USERS)
    (tmp_path / "w1.txt").write_text("1")
    (tmp_path / "w2.txt").write_text("2")
    monkeypatch.syspath_prepend(tmp_path / "code")
    for name in ("users", "layers"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("users")


def of_model(make: Any, **settings: Any) -> AuditTarget:
    named = Component("mine", settings, partial(make, **settings))
    return AuditTarget(Component("digits", {}, Digits), named, TrainingSettings(), Trainer)


def of_data(make: Any, **settings: Any) -> AuditTarget:
    named = Component("mine", settings, partial(make, **settings))
    return AuditTarget(named, Component("small_cnn", {}, SmallCNN), TrainingSettings(), Trainer)


def folders(target: AuditTarget) -> tuple[Path, Path]:
    return checkpoint_folder(target), predictions_folder(target, "same weights")


def test_every_argument_of_a_users_model_is_in_the_key(users: ModuleType, tmp_path: Path) -> None:
    first = folders(of_model(users.Net, file=str(tmp_path / "w1.txt")))
    assert folders(of_model(users.Net, file=str(tmp_path / "w1.txt"))) == first
    others = [
        of_model(users.Net, file=str(tmp_path / "w2.txt")),
        of_model(users.Net, file=str(tmp_path / "w1.txt"), width=2),
        of_model(users.Net, file=str(tmp_path / "w1.txt"), unheard_of=2),
        of_model(users.Net, file=None),
        of_model(lambda task, file: users.Net(task, file), file=str(tmp_path / "w1.txt")),
    ]
    found = [folders(other) for other in others]
    for which in (0, 1):
        assert len({first[which], *(each[which] for each in found)}) == 1 + len(others)
    (tmp_path / "elsewhere").mkdir()
    moved = shutil.copy(tmp_path / "w1.txt", tmp_path / "elsewhere" / "other.name")
    assert (
        folders(of_model(users.Net, file=str(moved))) == first
    )  # a file counts by its content, not its location
    assert folders(of_model(users.Net, file=str(moved), colour_of_plots="blue")) == first


def test_an_edit_of_a_module_that_a_model_imports_changes_its_digest(
    users: ModuleType, tmp_path: Path
) -> None:
    before = source_digest(users.Net)
    assert source_digest(users.make_data) == before != ""
    edited = tmp_path / "code" / "layers.py"
    edited.write_text(edited.read_text() + "\n")
    assert source_digest(users.Net) != before
    assert source_digest(SmallCNN) == ""


def test_every_argument_of_a_users_dataset_is_in_the_key(users: ModuleType, tmp_path: Path) -> None:
    first = folders(of_data(users.Data, file=str(tmp_path / "w1.txt")))
    others = [
        of_data(users.Data, file=str(tmp_path / "w2.txt")),
        of_data(
            users.Data, file=str(tmp_path / "w1.txt"), invert=True
        ),  # a setting that is not part of the fingerprint
        of_data(users.make_data, file=str(tmp_path / "w1.txt")),
        of_data(users.make_data, file=str(tmp_path / "w1.txt"), blur=3),
    ]
    found = [folders(other) for other in others]
    for which in (0, 1):
        assert len({first[which], *(each[which] for each in found)}) == 1 + len(others)
    assert folders(of_data(users.Data, file=str(tmp_path / "w1.txt"), root="anywhere")) == first


def write_pictures(root: Path) -> None:
    draw = np.random.default_rng(0)
    lines = ["path,label,light"]
    for row in range(40):
        file = root / "ab"[row % 2] / f"{row}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(file)
        lines.append(f"{file.relative_to(root)},{file.parent.name},{'day' if row % 3 else 'night'}")
    (root / "table.csv").write_text("\n".join(lines))


def test_the_location_of_the_data_makes_no_difference(tmp_path: Path) -> None:
    def both(root: Path) -> list[tuple[Path, Path]]:
        return [
            folders(of_data(ImageFolder, root=str(root), size=8)),
            folders(of_data(ImageFolder, root=str(root), size=8, attributes=str(root / "table.csv"))),
            folders(of_data(open_table, file=str(root / "table.csv"), size=8)),
        ]

    write_pictures(tmp_path / "here")
    here = both(tmp_path / "here")
    assert len({folder for pair in here for folder in pair}) == 6
    (tmp_path / "far").mkdir()
    os.rename(tmp_path / "here", tmp_path / "far" / "there")
    assert both(tmp_path / "far" / "there") == here
    write_pictures(tmp_path / "here")  # other modification times
    assert all(before != after for before, after in zip(here, both(tmp_path / "here"), strict=True))
    again = folders(of_data(ImageFolder, root=str(tmp_path / "far" / "there"), size=9))
    assert again[0] != here[0][0], "another size"


def test_files_and_folders_in_settings_stand_for_their_content(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_text("1")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert content_identity(str(tmp_path / "a")) == content_identity(tmp_path / "b") != str(tmp_path / "a")
    (tmp_path / "b" / "one").write_text("2")
    assert content_identity(str(tmp_path / "a")) != content_identity(str(tmp_path / "b"))
    assert content_identity("one", tmp_path / "a") == content_identity(str(tmp_path / "a" / "one"))
    assert content_identity({"nested": [str(tmp_path / "a" / "one")]}) != content_identity(
        {"nested": [str(tmp_path / "b" / "one")]}
    )
    plain = {"words": "", "number": 1.5, "none": None, "list": [1, "no such file"], "x" * 3000: "y" * 3000}
    assert content_identity(plain) == plain


def test_editing_the_source_of_a_described_object_changes_its_identity(
    users: ModuleType, tmp_path: Path
) -> None:
    described = {"transform": {"_target_": "users.make_data", "blur": 1}}
    before = content_identity(described)
    edited = tmp_path / "code" / "users.py"
    edited.write_text(edited.read_text().replace("blur=0", "blur=1"))
    assert content_identity(described) != before


@pytest.mark.slow
@pytest.mark.optional  # test_an_edited_network_is_trained_again runs in CI
def test_another_file_in_a_models_settings_trains_it_anew(shell) -> None:
    """`model.file=w1.txt`, then `w2.txt`: the second trains anew."""
    (shell.folder / "users.py").write_text(USERS)
    (shell.folder / "layers.py").write_text(LAYERS)
    for name in ("w1", "w2", "w3"):
        (shell.folder / f"{name}.txt").write_text("1" if name == "w3" else name[1])
    (shell.folder / "conf" / "model").mkdir(parents=True)
    (shell.folder / "conf" / "model" / "mine.yaml").write_text("{_target_: users.Net, file: null}")
    words = ("--config-dir", "conf", "model=mine")

    def runs(file: str) -> bool:
        return "train → outputs" in shell("train", *words, *FIRST, f"model.file={file}", PYTHONPATH=path)

    path = os.pathsep.join([str(shell.folder), os.environ.get("PYTHONPATH", "")])
    assert runs("w1.txt")
    assert runs("w2.txt")
    assert not runs("w3.txt")  # same content as w1.txt
