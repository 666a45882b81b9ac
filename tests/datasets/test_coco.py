"""COCO 2017: targets and attributes as in its JSON, the published transforms, and the audit of one category."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import f1_score
from torchvision.transforms import Compose, Normalize, Resize, ToTensor

from layouts import coco
from shell import Shell
from weakspot import Predictions
from weakspot.datasets.coco import COCO
from weakspot.findings.numbers import decimal
from weakspot.slices import Slices

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    coco.write(tmp_path)
    return tmp_path / "coco"


def annotations(root: Path, half: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((root / "annotations" / f"instances_{half}2017.json").read_text())
    return content


def test_targets_and_attributes_follow_the_annotations(root: Path) -> None:
    """Compared with the annotations, read one by one."""
    test = COCO("test", root)
    content = annotations(root, "val")
    number = {entry["id"]: place for place, entry in enumerate(content["categories"])}
    group = {entry["id"]: entry["supercategory"] for entry in content["categories"]}
    assert test.task.classes == tuple(entry["name"] for entry in content["categories"])
    assert test.task.n_outputs == 80
    assert (test.task.classes[0], test.task.classes[11], test.task.classes[-1]) == (
        "person",
        "stop sign",
        "toothbrush",
    )
    assert len(test) == len(content["images"])
    assert (test.targets.sum(axis=1) == 0).any(), "images without any object are kept"
    for row, image in enumerate(content["images"]):
        own = [entry for entry in content["annotations"] if entry["image_id"] == image["id"]]
        assert {number[entry["category_id"]] for entry in own} == set(np.flatnonzero(test.targets[row]))
        told = test.examples.slice(row, 1).to_pylist()[0]
        assert told.pop("id") == f"val2017/{image['file_name']}"
        assert told.pop("objects") == len(own)
        assert told.pop("crowd") == ("yes" if any(entry["iscrowd"] for entry in own) else "no")
        areas = {entry["area"]: test.task.classes[number[entry["category_id"]]] for entry in own}
        assert told.pop("largest") == (areas[max(areas)] if areas else "none")
        present = {group[entry["category_id"]] for entry in own}
        assert told == {name: "yes" if name in present else "no" for name in dict.fromkeys(group.values())}


def test_val_is_carved_from_the_published_train(root: Path) -> None:
    train, val = COCO("train", root), COCO("val", root)
    names = [d.examples["id"].to_pylist() for d in (train, val)]
    everything = {f"train2017/{entry['file_name']}" for entry in annotations(root, "train")["images"]}
    assert set(names[0]) | set(names[1]) == everything
    assert len(names[0]) + len(names[1]) == len(everything)
    assert 0 < len(val) < 15


def test_transforms_are_the_published_ones(root: Path) -> None:
    """Resize((224, 224)), ToTensor and Normalize, as in multilabel_classify.py of the UDIS repository."""
    expected = Compose([Resize((224, 224)), ToTensor(), Normalize(**IMAGENET)])
    for row in (0, 1):
        test = COCO("test", root, **IMAGENET)
        with Image.open(test.path(row)) as image:
            torch.testing.assert_close(test[row]["input"], expected(image))
    train = COCO("train", root, size=32)
    torch.manual_seed(0)
    first, second = train[0]["input"], train[0]["input"]
    assert first.shape == (3, 32, 32)
    assert not torch.equal(first, second), "training sees a random part"
    torch.manual_seed(0)
    assert torch.equal(train[0]["input"], first), "which follows from the seed"


def change(root: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    content = annotations(root, "val")
    edit(content)
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda c: c["annotations"][3].update(category_id=12), ["annotation 139003", "category 12"]),
        (lambda c: c["annotations"][2].update(image_id=140), ["annotation 139002", "image 140"]),
        (lambda c: c["annotations"][2].update(image_id=[139]), ["annotation 139002", "image [139]"]),
        (lambda c: c["annotations"][2].pop("category_id"), ["annotation 139002", "no category_id"]),
        (lambda c: c["annotations"][2].update(iscrowd="x"), ["annotation 139002", "iscrowd 'x'"]),
        (lambda c: c["annotations"][2].update(area="x"), ["annotation 139002", "area 'x'"]),
        (lambda c: c.pop("images"), ["not an instances file", "'images'"]),
        (lambda c: c["images"][0].pop("file_name"), ["not an instances file", "'file_name'"]),
    ],
)
def test_bad_annotations_are_named(
    root: Path, edit: Callable[[dict[str, Any]], Any], words: list[str]
) -> None:
    change(root, edit)
    with pytest.raises(ValueError) as caught:
        COCO("test", root)
    assert all(word in str(caught.value) for word in ["instances_val2017.json", *words]), caught.value


def test_annotations_with_null_fields_are_read(root: Path) -> None:
    """`area: null` means the box's area, or 0 without a box; `iscrowd: null` means not a crowd."""
    plain = COCO("test", root).examples

    def leave_open(content: dict[str, Any]) -> None:
        for place, entry in enumerate(content["annotations"]):
            entry["bbox"] = [0, 0, entry["area"], 1]
            entry["area"] = None
            if place % 2:
                del entry["area"]
            if not entry["iscrowd"]:
                entry["iscrowd"] = None

    change(root, leave_open)
    assert COCO("test", root).examples.equals(plain)
    change(root, lambda content: [entry.update(bbox=None) for entry in content["annotations"]])
    assert set(COCO("test", root).examples["largest"].to_pylist()) > {"none"}


@pytest.mark.parametrize("name", ["objects", "largest", "crowd", "id", "label", "loss"])
def test_a_supercategory_named_like_another_attribute_keeps_its_own_column(root: Path, name: str) -> None:
    plain = COCO("test", root).examples

    def rename(content: dict[str, Any]) -> None:
        for entry in content["categories"]:
            if entry["supercategory"] == "furniture":
                entry["supercategory"] = name

    change(root, rename)
    found = COCO("test", root)
    found.check()
    for column in plain.column_names:
        renamed = f"supercategory {name}" if column == "furniture" else column
        assert found.examples[renamed].equals(plain[column]), column


def test_a_category_without_a_supercategory_is_other(root: Path) -> None:
    change(root, lambda content: content["categories"][0].update(supercategory=None))
    assert "other" in COCO("test", root).examples.column_names


def test_train_and_test_files_with_different_categories_are_refused(root: Path) -> None:
    change(root, lambda content: content["categories"][0].update(name="human"))
    with pytest.raises(ValueError, match=r"instances_train2017\.json and .*instances_val2017\.json.*'human'"):
        COCO("train", root)


def test_missing_and_damaged_files_are_named(root: Path) -> None:
    test = COCO("test", root)
    test.path(1).write_bytes(test.path(1).read_bytes()[:300])
    with pytest.raises(ValueError, match=f"row 1 of test: {test.path(1)} cannot be read as an image"):
        test[1]
    file = root / "annotations" / "instances_train2017.json"
    file.write_text(file.read_text()[:5000])
    with pytest.raises(
        ValueError, match=r"instances_train2017\.json cannot be read as JSON .* fetch it again"
    ):
        COCO("train", root)
    file.unlink()
    with pytest.raises(
        FileNotFoundError, match=r"no .*instances_train2017\.json; unpack .* set dataset\.root"
    ):
        COCO("train", root)


def test_a_file_without_annotations_is_read(root: Path) -> None:
    change(root, lambda content: content.update(annotations=[]))
    test = COCO("test", root)
    assert test.targets.sum() == 0
    assert set(test.examples["largest"].to_pylist()) == {"none"}


@pytest.mark.slow
def test_one_category_is_audited(root: Path, tmp_path: Path) -> None:
    """Run UDIS on the images predicted to contain a bed, up to the report."""
    words = ["dataset=coco", "method=udis", "method.category=bed", "method.metric=f1"]
    small = ["dataset.size=32", "model=small_cnn", "trainer=cpu", "logger=none", "num_workers=0"]
    learn = {"epochs": 30, "optimizer": "adamw", "learning_rate": 3e-3, "batch_size": 8}
    trained = [f"training.{name}={value}" for name, value in learn.items()]
    Shell(tmp_path)("discover", *words, *small, *trained, DATA_DIR=str(tmp_path))
    (folder,) = (tmp_path / "outputs" / "predictions").glob("coco-*")
    p = Predictions.load(folder)
    bed = p.classes().index("bed")
    rows = np.flatnonzero(p.predictions[:, bed])
    assert 2 <= len(rows) < len(p)
    (run,) = tmp_path.glob("outputs/discover/*/*")
    tree = Slices.load(run / "slices").tree
    assert tree is not None
    assert tree.size == len(rows)
    assert tree.f1_category == pytest.approx(f1_score(p.labels[rows, bed], p.predictions[rows, bed]))
    page = (run / "report.html").read_text()
    assert "Predicted bed" in page
    overall = f1_score(p.labels[:, bed], p.predictions[:, bed])
    assert re.search(rf"F1 of bed, all examples</dt>\s*<dd>{decimal(overall)}</dd>", page)
    assert "Grad-CAM" in page
