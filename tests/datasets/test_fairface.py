"""FairFace: targets and attributes come from its label files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from layouts import fairface
from weakspot.datasets.fairface import CLASSES, FairFace

MEAN, STD = (0.4844, 0.3597, 0.3050), (0.2565, 0.2224, 0.2162)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    fairface.write(data)
    return data / "fairface"


@pytest.fixture
def copied(tmp_path: Path, root: Path) -> Path:
    """Copies of the label files, which tests may damage, beside the same images."""
    for name in ("train", "val"):
        (tmp_path / name).symlink_to(root / name)
        (tmp_path / f"fairface_label_{name}.csv").write_text(
            (root / f"fairface_label_{name}.csv").read_text()
        )
    return tmp_path


@pytest.mark.parametrize("target", CLASSES)
def test_targets_and_attributes_come_from_the_files(root: Path, target: str) -> None:
    dataset = FairFace("test", root, target=target)
    with open(root / "fairface_label_val.csv") as file:
        rows = list(csv.DictReader(file))
    assert dataset.task.classes == CLASSES[target]
    assert [dataset.task.classes[code] for code in dataset.targets] == [row[target] for row in rows]
    assert dataset.examples.to_pylist() == [
        {"id": row["file"], **{name: row[name] for name in ("age", "gender", "race", "service_test")}}
        for row in rows
    ]


def test_train_and_val_share_the_published_train(root: Path) -> None:
    train, val = (set(FairFace(split, root).files) for split in ("train", "val"))
    assert not train & val
    assert train | val == {f"train/{number}.jpg" for number in range(1, 41)}


def test_pixels_are_the_published_transform(root: Path) -> None:
    """torchvision's ToTensor and Normalize, as the published training script applies them to 224×224."""
    dataset = FairFace("test", root, mean=MEAN, std=STD)
    pixels = np.asarray(Image.open(root / "val" / "3.jpg")).astype(np.float32).transpose(2, 0, 1) / 255
    expected = (pixels - np.array(MEAN)[:, None, None]) / np.array(STD)[:, None, None]
    torch.testing.assert_close(dataset[2]["input"], torch.from_numpy(expected).float(), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("val/3.jpg,", "val/300.jpg,", r"fairface_label_val\.csv, line 4: there is no file .*val/300\.jpg"),
        (
            ",Female,",
            ",female,",
            r"fairface_label_val\.csv, line \d+: gender is 'female', not one of: Male, Female",
        ),
        (",more than 70,", ",70+,", r"line \d+: age is '70\+', not one of: 0-2, .*more than 70"),
        (
            ",race,",
            ",ethnicity,",
            r"fairface_label_val\.csv has no column 'race'; it has: file, age, gender, ethn",
        ),
        (
            ",True\n",
            "\n",
            r"fairface_label_val\.csv, line \d+ cannot be read as CSV: Expected 5 columns, got 4",
        ),
        ("val/3.jpg,", "val/2.jpg,", r"label_val\.csv, line 4: val/2\.jpg is in line 3 already"),
    ],
)
def test_a_bad_row_is_named(copied: Path, old: str, new: str, message: str) -> None:
    file = copied / "fairface_label_val.csv"
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        FairFace("test", copied)


def test_unknown_targets_missing_files_and_damaged_images_are_named(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"dataset\.target=smile is unknown; choose age, gender, race"):
        FairFace("test", copied, target="smile")
    with pytest.raises(FileNotFoundError, match=r"there is no .*fairface_label_val\.csv: set dataset\.root"):
        FairFace("test", tmp_path / "nowhere")
    (copied / "val").unlink()
    (copied / "val").mkdir()
    lines = (copied / "fairface_label_val.csv").read_text().splitlines()
    (copied / "fairface_label_val.csv").write_text("\n".join(lines[:2]) + "\n")
    (copied / "val" / "1.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut off")
    with pytest.raises(ValueError, match=r"row 0 of test: .*val/1\.jpg cannot be read as an image"):
        FairFace("test", copied)[0]
