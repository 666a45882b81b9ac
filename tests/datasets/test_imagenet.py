"""ImageNet: the thousand classes keep their indices, whichever of them are on disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import get_model
from torchvision.transforms import v2

from layouts import imagenet
from shell import Shell
from weakspot import Predictions
from weakspot.datasets.imagenet import ImageNet

NAMED = {  # as numbered in torchvision's documentation
    "n01440764": (0, "tench"),
    "n02012849": (134, "crane bird"),
    "n02102040": (217, "English springer"),
    "n03000684": (491, "chain saw"),
    "n15075141": (999, "toilet tissue"),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    imagenet.write(data)
    return data / "imagenet"


def test_classes_are_the_published_thousand(root: Path) -> None:
    dataset = ImageNet("test", root)
    assert len(set(dataset.task.classes)) == 1000
    for row, wnid in enumerate(dataset.examples["wnid"].to_pylist()):
        code, name = NAMED[wnid]
        assert dataset.targets[row] == code
        assert dataset.task.classes[code] == name
        assert Path(dataset.files[row]).parent.name == wnid


def test_train_and_val_share_the_published_train(root: Path) -> None:
    train, val = (set(ImageNet(split, root).files) for split in ("train", "val"))
    assert not train & val
    assert len(train | val) == 50
    assert {Path(file).parts[0] for file in train | val} == {"train"}


def test_the_test_split_needs_only_val(root: Path, tmp_path: Path) -> None:
    (tmp_path / "val").symlink_to(root / "val")
    assert len(ImageNet("test", tmp_path)) == 60
    with pytest.raises(FileNotFoundError, match=r"no train in .* or below it: set dataset\.root"):
        ImageNet("train", tmp_path)
    kaggle = tmp_path / "kaggle" / "ILSVRC" / "Data" / "CLS-LOC"
    kaggle.mkdir(parents=True)
    (kaggle / "val").symlink_to(root / "val")
    assert len(ImageNet("test", tmp_path / "kaggle")) == 60


def test_stretched_pixels_are_the_published_transform(root: Path) -> None:
    """torchvision's Resize((64, 64)) and ToTensor, as in the paper's script."""
    dataset = ImageNet("test", root, size=64, stretch=True)
    published = v2.Compose([v2.Resize((64, 64)), v2.PILToTensor()])
    with Image.open(dataset.path(0)) as file:
        expected = published(file).float() / 255
    torch.testing.assert_close(dataset[0]["input"], expected, atol=1e-6, rtol=0)
    assert not torch.equal(ImageNet("test", root, size=64)[0]["input"], expected)


def test_a_file_of_classes_gives_their_order_and_names(root: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("\n".join(["n15075141 toilet tissue, toilet paper", *list(NAMED)[:4]]) + "\n")
    dataset = ImageNet("test", root, classes=own)
    assert dataset.task.classes == ("toilet tissue, toilet paper", *list(NAMED)[:4])
    assert dataset.targets[-1] == 0
    own.write_text("n15075141\ntench\n")
    with pytest.raises(ValueError, match=r"own\.txt, line 2: 'tench' is not a wnid"):
        ImageNet("test", root, classes=own)
    own.write_text("n15075141\nn01440764\nn15075141\n")
    with pytest.raises(ValueError, match=r"own\.txt, line 3: n15075141 is in line 1 already"):
        ImageNet("test", root, classes=own)
    own.write_text("n15075141\n")
    with pytest.raises(ValueError, match=r"val/n01440764 is not one of the 1 classes of .*own\.txt"):
        ImageNet("test", root, classes=own)


def test_a_file_of_classes_may_begin_with_a_byte_order_mark(root: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("\n".join(f"{wnid} {name}" for wnid, (_, name) in NAMED.items()), encoding="utf-8-sig")
    assert ImageNet("test", root, classes=own).task.classes == tuple(name for _, name in NAMED.values())


def test_a_file_of_classes_in_another_encoding_is_named(root: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_bytes("n01440764 tench\nn02012849 Gr\xfcn\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"own\.txt, line 2 is not UTF-8 text"):
        ImageNet("test", root, classes=own)


def test_unknown_classes_damaged_images_and_other_layouts_are_named(root: Path, tmp_path: Path) -> None:
    copied = tmp_path / "imagenet"
    shutil.copytree(root / "val", copied / "val")
    (copied / "val" / "n99999999").mkdir()
    with pytest.raises(
        ValueError, match=r"val/n99999999 is not one of the 1000 classes of ILSVRC2012.*dataset\.classes"
    ):
        ImageNet("test", copied)
    shutil.rmtree(copied / "val" / "n99999999")
    cut = copied / "val" / "n01440764" / "ILSVRC2012_val_00000001.JPEG"
    cut.write_bytes(cut.read_bytes()[:900])
    with pytest.raises(ValueError, match=r"row 0 of test: .*val_00000001\.JPEG cannot be read as an image"):
        ImageNet("test", copied)[0]
    flat = tmp_path / "flat" / "val"
    shutil.copytree(root / "val" / "n01440764", flat)
    with pytest.raises(ValueError, match=r"the images of .*flat/val are not in class folders"):
        ImageNet("test", flat.parent)


@pytest.mark.slow
def test_published_weights_fit_a_few_classes(root: Path, tmp_path: Path) -> None:
    """With weights for a thousand classes, five of them on disk, the outputs are those of the plain network."""
    torch.manual_seed(0)
    net = get_model("resnet18", weights=None).eval()
    torch.save(net.state_dict(), tmp_path / "resnet18.pth")
    shell = Shell(tmp_path)
    output = shell(
        "infer",
        "dataset=imagenet",
        "logger=none",
        "trainer=cpu",
        DATA_DIR=str(root.parent),
        TORCH_HOME=str(tmp_path),
        fails=True,
    )
    assert "model.download=true fetches them" in output
    words = [
        "dataset=imagenet",
        "model.weights=resnet18.pth",
        "dataset.size=64",
        "logger=none",
        "trainer=cpu",
    ]
    shell("infer", *words, DATA_DIR=str(root.parent))
    (folder,) = (tmp_path / "outputs" / "predictions").glob("imagenet-test-*")
    predictions = Predictions.load(folder)
    dataset = ImageNet("test", root, size=64, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    with torch.inference_mode():
        expected = net(torch.stack([item["input"] for item in dataset])).numpy()
    assert predictions.outputs is not None
    np.testing.assert_allclose(predictions.outputs, expected, atol=1e-4)
    assert predictions.ids.tolist() == dataset.files
