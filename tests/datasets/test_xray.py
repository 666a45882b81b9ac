"""Chest X-rays: train and val share no patient, only training images are augmented; and the paper's network."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import v2

from layouts import xray
from weakspot.datasets.datamodule import DataModule
from weakspot.datasets.xray import XRay
from weakspot.models import XRayCNN, load_weights
from weakspot.tasks import Classification


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    xray.write(data)
    return data / "xray"


def test_splits_and_labels_come_from_the_folders(root: Path) -> None:
    splits = {split: XRay(split, root) for split in XRay.splits}
    folders = {split: {Path(file).parts[0] for file in data.files} for split, data in splits.items()}
    assert folders == {"train": {"train"}, "val": {"train", "val"}, "test": {"test"}}
    names = [name for folder, names in xray.NAMES.items() for name in names]
    assert sum(map(len, splits.values())) == len(names)
    for data in splits.values():
        for file, target in zip(data.files, data.targets, strict=True):
            assert data.task.classes[target] == Path(file).parts[1]


def test_no_patient_is_in_both_train_and_val(root: Path) -> None:
    train, val = (set(XRay(split, root).examples["patient"].to_pylist()) for split in ("train", "val"))
    assert train
    assert val
    assert not train & val


def test_patients_of_the_published_val_are_not_in_train(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "chest_xray", tmp_path / "xray")
    lone = Path(XRay("train", tmp_path / "xray").files[0])
    shutil.copy(tmp_path / "xray" / lone, tmp_path / "xray" / "val" / lone.parent.name / f"copy-{lone.name}")
    train, val = (XRay(split, tmp_path / "xray") for split in ("train", "val"))
    assert not set(train.examples["patient"].to_pylist()) & set(val.examples["patient"].to_pylist())
    assert str(lone) in val.files, "the patient's other images go along"
    shutil.rmtree(tmp_path / "xray" / "val")
    assert str(lone) in XRay("train", tmp_path / "xray").files


def test_attributes_come_from_the_file_names(root: Path) -> None:
    dataset = XRay("test", root)
    about = {Path(row["id"]).name: row for row in dataset.examples.to_pylist()}
    expected = {
        "IM-0001-0001.jpeg": ("none", "IM-0001"),
        "NORMAL2-IM-1154-0001-0002.jpeg": ("none", "IM-1154"),
        "person8_virus_13.jpeg": ("virus", "person8"),
        "person78_bacteria_378.jpeg": ("bacteria", "person78"),
    }
    for name, (kind, patient) in expected.items():
        assert (about[name]["kind"], about[name]["patient"]) == (kind, patient)
        folder = "NORMAL" if kind == "none" else "PNEUMONIA"
        with Image.open(root / "chest_xray" / "test" / folder / name) as file:
            assert file.size == (about[name]["width"], about[name]["height"])


def test_pixels_are_the_published_transform(root: Path) -> None:
    """torchvision's Grayscale, Resize((150, 150)) and ToTensor, on three equal channels."""
    dataset = XRay("test", root)
    published = v2.Compose([v2.Grayscale(), v2.Resize((150, 150)), v2.PILToTensor()])
    for row in (0, 17):
        x = dataset[row]["input"]
        with Image.open(dataset.path(row)) as file:
            expected = published(file).float() / 255
        assert x.shape == (3, 150, 150)
        assert torch.equal(x[0], x[1])
        assert torch.equal(x[0], x[2])
        torch.testing.assert_close(x[:1], expected, atol=1e-6, rtol=0)


def test_colour_files_come_out_grey(root: Path) -> None:
    dataset = XRay("train", root)
    (colour,) = (row for row, file in enumerate(dataset.files) if file.endswith(xray.COLOUR))
    pixels = np.asarray(dataset.preview(colour))
    assert (pixels == pixels[..., :1]).all()


def test_only_training_images_are_augmented(root: Path) -> None:
    def train_batch(seed: int, **settings: float) -> torch.Tensor:
        data = DataModule(lambda split: XRay(split, root, **settings), batch_size=100)
        torch.manual_seed(seed)
        batch = next(iter(data.train_dataloader()))
        order = batch["index"].argsort()
        return torch.as_tensor(batch["input"])[order]

    plain = torch.stack([item["input"] for item in XRay("train", root)])
    changed = train_batch(0)
    assert (changed != plain).flatten(1).any(dim=1).all()
    assert torch.equal(changed, train_batch(0))
    assert not torch.equal(changed, train_batch(1))
    assert torch.equal(train_batch(0, degrees=0, translate=0, zoom=0), plain)
    audited = DataModule(lambda split: XRay(split, root), batch_size=100).loader("train")
    assert torch.equal(next(iter(audited))["input"], plain)


def test_areas_uncovered_by_rotation_are_black(root: Path) -> None:
    """Also when a mean is subtracted, since 0 would then be grey."""
    dataset = XRay("train", root, mean=[0.5] * 3, std=[0.25] * 3, degrees=45, translate=0, zoom=0)
    torch.manual_seed(3)
    changed = dataset.augmented()[0]["input"]
    assert changed.min() == -2
    assert (changed == -2).float().mean() > 0.01


def test_missing_folders_unknown_classes_and_damaged_images_are_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no train in .*nowhere or below it: set dataset\.root"):
        XRay("test", tmp_path / "nowhere")
    copied = tmp_path / "xray"
    shutil.copytree(root / "chest_xray", copied)
    (copied / "test" / "COVID").mkdir()
    with pytest.raises(
        ValueError, match=r"test/COVID is not the folder of a known class \(NORMAL, PNEUMONIA\)"
    ):
        XRay("test", copied)
    (copied / "test" / "COVID").rmdir()
    cut = copied / "test" / "NORMAL" / "IM-0001-0001.jpeg"
    cut.write_bytes(cut.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"row 0 of test: .*IM-0001-0001\.jpeg cannot be read as an image"):
        XRay("test", copied)[0]
    cut.write_bytes(b"")
    with pytest.raises(ValueError, match=r"row 0 of test: .*IM-0001-0001\.jpeg cannot be read as an image"):
        XRay("test", copied)
    shutil.rmtree(copied / "test" / "PNEUMONIA")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*test/PNEUMONIA: set dataset\.root"):
        XRay("test", copied)


# --- the paper's network

SICK = Classification(("NORMAL", "PNEUMONIA"))


def published_network() -> nn.Sequential:
    """The layers as listed in `train_xray.py` of the paper's repository; 54 760 = 10 · 74²."""
    return nn.Sequential(
        nn.Conv2d(1, 10, (3, 3)), nn.ReLU(), nn.Dropout(p=0.2), nn.MaxPool2d((2, 2)), nn.Flatten(),
        nn.Linear(54_760, 100), nn.ReLU(), nn.Dropout(p=0.2), nn.Linear(100, 2),
    )  # fmt: skip


def test_the_published_checkpoint_loads_and_gives_the_same_outputs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    published = published_network()
    torch.save(
        {"epochs": 20, "model_state_dict": published.state_dict(), "train_losses": [0.7]}, tmp_path / "cnn.pt"
    )
    model = XRayCNN(SICK)
    load_weights(model, tmp_path / "cnn.pt")
    grey = torch.rand(4, 1, 150, 150)
    x = grey.expand(-1, 3, -1, -1)
    for network in (model, published):
        network.eval()
    assert torch.equal(model(x), published(grey))
    z = model.embed(x)
    assert z.shape == (4, 100)
    assert torch.equal(z, published[:8](grey))
    assert torch.equal(model.head(z), model(x))


def test_the_network_supports_grad_cam_and_refuses_other_image_sizes() -> None:
    from weakspot.explain.gradcam import grad_cam

    torch.manual_seed(0)
    model = XRayCNN(SICK).eval()
    maps = grad_cam(model, torch.rand(2, 3, 150, 150))
    assert maps.shape == (2, 150, 150)
    with pytest.raises(ValueError, match=r"exactly 150×150 pixels, not 224×224.*dataset\.size=150"):
        model(torch.rand(1, 3, 224, 224))
