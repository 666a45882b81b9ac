"""Every dataset keeps the contract, reads its published layout, and names what is wrong with anything else."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import torchvision
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.datasets.utils import calculate_md5
from torchvision.transforms.v2 import CenterCrop, Compose, Resize

from idx_files import idx_files, write_idx
from image_shards import parquets, tars
from weakspot.config.build import build, dataset_own_settings
from weakspot.config.choices import CONFIGS
from weakspot.config.compose import register
from weakspot.datasets.base import Dataset
from weakspot.datasets.cifar10 import CIFAR10
from weakspot.datasets.colored_digits import ColoredDigits
from weakspot.datasets.digits import Digits
from weakspot.datasets.fashion_mnist import FashionMNIST
from weakspot.datasets.image_folder import ImageFolder
from weakspot.datasets.image_parquet import ImageParquet
from weakspot.datasets.inputs.images import Scaling
from weakspot.datasets.mnist import MNIST
from weakspot.datasets.readers.splits import split_by_id
from weakspot.datasets.webdataset import WebDataset
from weakspot.hashing import id_hashes

SPLITS = ("train", "val", "test")


def cifar_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The published layout with 20 images a batch; the MD5 sums of these files replace the published ones."""
    source = torchvision.datasets.CIFAR10
    folder = root / source.base_folder
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)

    def write(name: str, content: dict[str, Any]) -> tuple[str, str]:
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
        return name, calculate_md5(folder / name)

    def batch(name: str) -> tuple[str, str]:
        pixels = rng.integers(0, 256, size=(20, 3072), dtype=np.uint8)
        return write(name, {"data": pixels, "labels": rng.integers(10, size=20).tolist()})

    monkeypatch.setattr(source, "train_list", [batch(f"data_batch_{k}") for k in range(1, 6)])
    monkeypatch.setattr(source, "test_list", [batch("test_batch")])
    name, md5 = write("batches.meta", {"label_names": list("abcdefghij")})
    monkeypatch.setattr(source, "meta", {"filename": name, "key": "label_names", "md5": md5})
    return root


def paint(path: Path, colour: tuple[int, int, int] = (200, 20, 20), size: tuple[int, int] = (12, 10)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def image_tree(root: Path, n: int = 30) -> Path:
    for label in ("cat", "dog"):
        for k in range(n):
            paint(root / label / f"{k:02d}.png", (k, 7 * k, 100 if label == "cat" else 200), (10 + k % 3, 12))
    return root


@pytest.fixture(
    params=[
        "colored_digits",
        "digits",
        "mnist",
        "fashion_mnist",
        "cifar10",
        "image_folder",
        "webdataset",
        "image_parquet",
    ]
)
def make(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Dataset]:
    """A function that makes any split of a dataset, from small data in its published layout."""
    rows: dict[str, Callable[[], Callable[..., Dataset]]] = {
        "colored_digits": lambda: ColoredDigits,
        "digits": lambda: Digits,
        "mnist": lambda: partial(MNIST, root=idx_files(tmp_path)),
        "fashion_mnist": lambda: partial(FashionMNIST, root=idx_files(tmp_path, ".gz")),
        "cifar10": lambda: partial(CIFAR10, root=cifar_files(tmp_path, monkeypatch)),
        "image_folder": lambda: partial(ImageFolder, root=image_tree(tmp_path), size=16),
        "webdataset": lambda: partial(WebDataset, root=tars(tmp_path), size=16),
        "image_parquet": lambda: partial(ImageParquet, root=parquets(tmp_path), size=16),
    }
    return rows[request.param]()


def test_contract(make: Callable[..., Dataset]) -> None:
    datasets = [make(split=split) for split in SPLITS]
    for dataset in datasets:
        dataset.check()
        assert set(np.unique(dataset.targets)) <= set(range(dataset.task.n_outputs))
        for row in (0, len(dataset) - 1):
            item = dataset[row]
            assert item["index"] == row
            assert item["target"] == dataset.targets[row]
            assert isinstance(item["target"], int)
            assert item["input"].dtype == torch.float32
            assert item["input"].shape[0] == 3
            assert 0 <= item["input"].min() <= item["input"].max() <= 1
            preview = dataset.preview(row)
            assert isinstance(preview, Image.Image)
            assert preview.mode == "RGB"
        with pytest.raises(IndexError):
            dataset[len(dataset)]
    ids = [set(dataset.examples["id"].to_pylist()) for dataset in datasets]
    assert len(set().union(*ids)) == sum(map(len, datasets))  # no example is in two splits
    assert len({dataset.task for dataset in datasets}) == 1


def test_the_same_data_have_the_same_fingerprint(make: Callable[..., Dataset]) -> None:
    np.random.seed(1)  # a dataset that draws from the global generators would differ
    torch.manual_seed(1)
    first = {split: make(split=split) for split in SPLITS}
    np.random.seed(2)
    torch.manual_seed(2)
    again = {split: make(split=split) for split in SPLITS}
    for split in SPLITS:
        assert first[split].fingerprint() == again[split].fingerprint()
        assert first[split].examples == again[split].examples
    assert len({dataset.fingerprint() for dataset in first.values()}) == 3


def test_an_unknown_split_is_refused_with_the_known_ones(make: Callable[..., Dataset]) -> None:
    with pytest.raises(ValueError, match="no split 'dev'; it has: train, val, test"):
        make(split="dev")


def test_size_mean_and_std(make: Callable[..., Dataset]) -> None:
    plain = make(split="test", size=24)[0]["input"]
    assert plain.shape == (3, 24, 24)
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
    scaled = make(split="test", size=24, mean=mean, std=std)[0]["input"]
    expected = (plain - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    torch.testing.assert_close(scaled, expected)


# colored_digits: the recipe


def test_colored_digits_counts() -> None:
    train, val, test = (ColoredDigits(split) for split in SPLITS)
    assert len(test) == round(0.4 * 1797)
    for dataset in (train, val):
        high = dataset.targets == 1
        green = np.array(dataset.examples["colour"]) == "green"
        assert green[high].sum() == round(0.98 * high.sum())
        assert (~green[~high]).sum() == (~high).sum() - round(0.1 * (~high).sum())
    green, digit = np.array(test.examples["colour"]) == "green", np.array(test.examples["digit"])
    for value in range(10):
        assert abs(2 * green[digit == value].sum() - (digit == value).sum()) <= 1


def test_colored_digits_attributes_agree() -> None:
    dataset = ColoredDigits("test")
    assert dataset.task.classes == ("<5", "≥5")
    truth = load_digits().target
    for row, example in enumerate(dataset.examples.to_pylist()):
        assert example["digit"] == truth[int(example["id"].removeprefix("digit-"))]
        name = dataset.task.classes[dataset.targets[row]]
        assert (name == "≥5") == (example["digit"] >= 5)
        assert example["group"] == f"{example['colour']}_{name}"


def test_colored_digits_images() -> None:
    """A white digit, enlarged by PIL's bilinear filter, on half-bright paper."""
    dataset = ColoredDigits("test")
    scans = load_digits().images
    for row, example in enumerate(dataset.examples.slice(0, 20).to_pylist()):
        scan = Image.fromarray((scans[int(example["id"].removeprefix("digit-"))] / 16).astype(np.float32))
        ink = np.asarray(scan.resize((32, 32), Image.Resampling.BILINEAR), dtype=np.float64)
        paper = np.array([0, 0.5, 0] if example["colour"] == "green" else [0.5, 0, 0])
        expected = ink[..., None] + (1 - ink[..., None]) * paper
        np.testing.assert_allclose(dataset[row]["input"].permute(1, 2, 0), expected, atol=0.51 / 255)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.optional)])
def test_colored_digits_make_a_model_fail(seed: int) -> None:
    """The recipe's network, trained by the recipe, is right in validation and wrong on red digits ≥ 5."""
    from weakspot.models.small_cnn import SmallCNN

    def whole(split: str) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
        dataset = ColoredDigits(split)
        inputs = torch.stack([dataset[row]["input"] for row in range(len(dataset))])
        return inputs, torch.from_numpy(dataset.targets), np.array(dataset.examples["group"])

    torch.manual_seed(seed)
    model = SmallCNN(ColoredDigits("train").task)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    x, y, _ = whole("train")
    for _ in range(20):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    x, y, _ = whole("val")
    assert (model(x).argmax(dim=1) == y).float().mean() > 0.9
    x, y, group = whole("test")
    right = (model(x).argmax(dim=1) == y).numpy()
    accuracy = {name: right[group == name].mean() for name in np.unique(group)}
    assert accuracy["red_≥5"] == min(accuracy.values())
    assert accuracy["red_≥5"] < 0.4 < 0.9 < accuracy["red_<5"]
    assert right.mean() < 0.75


# splits


def test_hashes_are_uniform_and_uncorrelated() -> None:
    ids = [f"x{k}" for k in range(20_000)]
    a, b = id_hashes(ids, "a"), id_hashes(ids, "b")
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.03
    counts, _ = np.histogram(a, bins=10, range=(0, 1))
    assert abs(counts - 2000).max() < 200


def test_the_split_of_an_id_does_not_depend_on_the_other_ids() -> None:
    ids = [f"x{k}" for k in range(5000)]
    few, many = split_by_id(ids[:3000]), split_by_id(ids[::-1])
    np.testing.assert_array_equal(few, many[::-1][:3000])
    assert 0.18 < (many == "test").mean() < 0.22
    assert 0.06 < (many == "val").mean() < 0.1


# MNIST and Fashion-MNIST


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("inside", ["", "FashionMNIST/raw"])
def test_idx_files_are_found_in_root_and_in_torchvisions_folder(
    tmp_path: Path, ending: str, inside: str
) -> None:
    folder = idx_files(tmp_path / inside, ending)
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    datasets = {split: FashionMNIST(split, root=tmp_path) for split in SPLITS}
    assert len(datasets["train"]) + len(datasets["val"]) == 60
    assert len(datasets["test"]) == 20
    assert datasets["test"].task.classes[9] == "Ankle boot"
    folder.chmod(0o755)


def test_idx_files_are_read_as_torchvision_reads_them(tmp_path: Path) -> None:
    idx_files(tmp_path / "MNIST/raw")
    oracle = {
        half: torchvision.datasets.MNIST(str(tmp_path), train=half == "train") for half in ("train", "test")
    }
    for split in SPLITS:
        dataset = MNIST(split, root=tmp_path)
        for row, name in enumerate(dataset.examples["id"].to_pylist()):
            half, number = name.split("-")
            image, label = oracle[half][int(number)]
            assert dataset.targets[row] == label
            np.testing.assert_array_equal(np.asarray(dataset.preview(row))[..., 1], np.asarray(image))


def test_errors_about_missing_files_say_where_to_put_them_and_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        FashionMNIST("test", root=tmp_path)
    for word in (
        str(tmp_path),
        "FashionMNIST/raw",
        "dataset.root",
        "dataset.download=true",
        "dataset-fashion-mnist",
    ):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-5], "should hold 15680 values but holds 15675"),
        (lambda data: data[4:], "not an idx file"),
        (lambda data: b"", "not an idx file"),
        (
            lambda data: struct.pack(">BBBB3I", 0, 0, 8, 3, 19, 28, 28) + data[16:-784],
            "19 images but .* 20 labels",
        ),
    ],
)
def test_damaged_idx_files_are_refused(
    tmp_path: Path, damage: Callable[[bytes], bytes], message: str
) -> None:
    path = idx_files(tmp_path) / "t10k-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=f"{path}.*{message}"):
        MNIST("test", root=tmp_path)


def test_a_truncated_gzip_file_is_refused(tmp_path: Path) -> None:
    path = idx_files(tmp_path, ".gz") / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match=f"{path} cannot be unpacked"):
        MNIST("test", root=tmp_path)


def test_a_label_beyond_the_classes_is_refused(tmp_path: Path) -> None:
    path = idx_files(tmp_path) / "t10k-labels-idx1-ubyte"
    write_idx(path, np.array([3] * 7 + [10] + [0] * 12, dtype=np.uint8))
    with pytest.raises(ValueError, match=f"{path}: row 7 has class 10"):
        MNIST("test", root=tmp_path)


# CIFAR-10


@pytest.mark.parametrize("inside", ["", "cifar-10-batches-py"])
def test_cifar_is_read_as_torchvision_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str
) -> None:
    cifar_files(tmp_path, monkeypatch)
    oracle = torchvision.datasets.CIFAR10(str(tmp_path), train=True)
    seen = 0
    for split in ("train", "val"):
        dataset = CIFAR10(split, root=tmp_path / inside)
        for row, name in enumerate(dataset.examples["id"].to_pylist()):
            image, label = oracle[int(name.removeprefix("train-"))]
            assert dataset.targets[row] == label
            np.testing.assert_array_equal(np.asarray(dataset.preview(row)), np.asarray(image))
            seen += 1
    assert seen == len(oracle)


def test_a_foreign_pickle_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    cifar_files(tmp_path, monkeypatch)
    for name in ("test_batch", "batches.meta"):
        path = tmp_path / "cifar-10-batches-py" / name
        good = path.read_bytes()
        path.write_bytes(pickle.dumps(Trap()))
        with pytest.raises(ValueError, match=f"{name} is not the published file"):
            CIFAR10("test", root=tmp_path)
        path.write_bytes(good)
    assert not (tmp_path / "sprung").exists()


def test_missing_cifar_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=f"no data_batch_1 in {tmp_path}/cifar-10-batches-py; set dataset.root"
    ):
        CIFAR10("test", root=tmp_path)


# image_folder


def test_numeric_folder_names_are_sorted_by_value(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        paint(tmp_path / "test" / str(number) / "a.png")
    test = ImageFolder("test", root=tmp_path)
    assert test.task.classes == ("1", "2", "10")
    assert dict(zip(test.examples["id"].to_pylist(), test.targets.tolist(), strict=True)) == {
        "test/1/a.png": 0,
        "test/2/a.png": 1,
        "test/10/a.png": 2,
    }


def test_split_folders(tmp_path: Path) -> None:
    for split, n in (("train", 5), ("val", 2), ("test", 3)):
        image_tree(tmp_path / split, n)
    paint(tmp_path / "test" / "emu" / "deeper" / "a.JPG")
    sizes = {split: len(ImageFolder(split, root=tmp_path)) for split in SPLITS}
    assert sizes == {"train": 10, "val": 4, "test": 7}
    test = ImageFolder("test", root=tmp_path)
    assert test.task.classes == ImageFolder("train", root=tmp_path).task.classes == ("cat", "dog", "emu")
    assert test.examples["id"].to_pylist()[-1] == "test/emu/deeper/a.JPG"
    assert test[6]["target"] == 2
    np.testing.assert_array_equal(np.asarray(test.preview(0))[0, 0], (0, 0, 100))


def test_val_is_carved_from_train(tmp_path: Path) -> None:
    for split in ("train", "test"):
        image_tree(tmp_path / split)
    datasets = {split: ImageFolder(split, root=tmp_path) for split in SPLITS}
    assert 0 < len(datasets["val"]) < 15
    assert len(datasets["train"]) + len(datasets["val"]) == 60
    assert all(name.startswith("train/") for name in datasets["val"].examples["id"].to_pylist())


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for label in ("bus", "train"):
        for k in range(20):
            paint(tmp_path / label / f"{k}.png")
    assert ImageFolder("test", root=tmp_path).task.classes == ("bus", "train")


def test_hidden_and_other_files_are_skipped(tmp_path: Path) -> None:
    image_tree(tmp_path)
    paint(tmp_path / ".cache" / "x.png")
    paint(tmp_path / "cat" / "._00.png")
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    assert sum(len(ImageFolder(split, root=tmp_path)) for split in SPLITS) == 60


def csv(root: Path, *lines: str) -> Path:
    path = root / "about.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_attributes(tmp_path: Path) -> None:
    image_tree(tmp_path, 3)
    paint(tmp_path / "loose.png")
    csv(
        tmp_path,
        "light,path,split,label,age",
        "day,cat/00.png,test,7,3",
        "night,./dog/01.png,train,12,",
        "day,loose.png,test,12,41",
    )
    for attributes in ("about.csv", tmp_path / "about.csv"):
        test = ImageFolder("test", root=tmp_path, attributes=attributes)
        assert test.examples == pa.table(
            {"id": ["cat/00.png", "loose.png"], "light": ["day", "day"], "age": [3, 41]}
        )
        assert test.task.classes == ("7", "12")
        assert test.targets.tolist() == [0, 1]
    assert ImageFolder("train", root=tmp_path, attributes="about.csv").examples["age"].to_pylist() == [None]


def test_without_label_and_split_columns_both_come_from_the_folders(tmp_path: Path) -> None:
    for split in ("train", "test"):
        image_tree(tmp_path / split, 3)
    csv(tmp_path, "path,race", "train/cat/00.png,a", "test/dog/02.png,b")
    test = ImageFolder("test", root=tmp_path, attributes="about.csv")
    assert test.examples.to_pylist() == [{"id": "test/dog/02.png", "race": "b"}]
    assert test.task.classes[test.targets[0]] == "dog"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["path,a", "cat/00.png,1", "cat/99.png,2"], ["line 3", "no file", "cat/99.png"]),
        (["path,a", "cat/00.png,1", "cat/01.png,1", "./cat/00.png,2"], ["line 4", "cat/00.png", "line 2"]),
        (["path,a", "../x.png,1"], ["line 2", "not below"]),
        (["path,a", "/etc/x.png,1"], ["line 2", "not below"]),
        (["path,split", "cat/00.png,dev"], ["line 2", "split is 'dev'", "train, val, test"]),
        (["path,label", "cat/00.png,"], ["line 2", "label is ''"]),
        (["file,a", "cat/00.png,1"], ["no column 'path'", "file, a"]),
        (["path,a,a", "cat/00.png,1,2"], ["two columns 'a'"]),
        (["path,a", "cat/00.png,1,2"], ["cannot be read", "Expected 2 columns"]),
        (["path,a"], ["no rows"]),
        (["path,a", "notes.txt,1"], ["line 2", "notes.txt", ".png"]),
        (["path,a", "loose.png,1"], ["loose.png", "not in a class folder"]),
        (["path,loss,split", "cat/00.png,1,train"], ["'loss'", "another name"]),
    ],
)
def test_invalid_attributes_are_refused(tmp_path: Path, lines: list[str], words: list[str]) -> None:
    image_tree(tmp_path / "root", 3)
    paint(tmp_path / "root" / "loose.png")
    (tmp_path / "root" / "notes.txt").write_text("no image")
    csv(tmp_path, *lines)
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        ImageFolder("train", root=tmp_path / "root", attributes=tmp_path / "about.csv").check()
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_missing_root_and_missing_attributes_or_images_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder of images at .*nowhere; set dataset\.root"):
        ImageFolder("test", root=tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=f"no images below {tmp_path}"):
        ImageFolder("test", root=tmp_path)
    paint(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png is not in a class folder"):
        ImageFolder("test", root=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no attributes at about\.csv"):
        ImageFolder("test", root=tmp_path, attributes="about.csv")


def test_an_empty_split_is_refused_with_the_splits_that_exist(tmp_path: Path) -> None:
    image_tree(tmp_path / "train", 3)
    with pytest.raises(ValueError, match="is in split 'test'; there are some in: train"):
        ImageFolder("test", root=tmp_path)


def test_given_classes_keep_their_order(tmp_path: Path) -> None:
    image_tree(tmp_path)
    dataset = ImageFolder("train", root=tmp_path, classes=["emu", "dog", "cat"])
    assert dataset.task.classes == ("emu", "dog", "cat")
    assert {dataset.examples["id"][row].as_py()[:3]: int(t) for row, t in enumerate(dataset.targets)} == {
        "cat": 2,
        "dog": 1,
    }
    with pytest.raises(ValueError, match=r"cat/00\.png is of class 'cat', not one of: dog, emu"):
        ImageFolder("train", root=tmp_path, classes=["dog", "emu"])


def test_unreadable_images_are_named(tmp_path: Path) -> None:
    image_tree(tmp_path / "test", 3)
    dataset = ImageFolder("test", root=tmp_path)
    path = tmp_path / "test" / "cat" / "01.png"
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"no image"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"row 1 of test: {path} cannot be read as an image"):
            dataset[1]
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"row 1 of test: there is no file {path}"):
        dataset[1]


@pytest.mark.parametrize("change", ["touch", "grow", "add", "attribute", "nothing"])
def test_fingerprint_sees_every_change(tmp_path: Path, change: str) -> None:
    image_tree(tmp_path / "test", 3)
    lines = ["path,a", *(f"test/cat/{k:02d}.png,1" for k in range(3))]
    csv(tmp_path, *lines)
    make = partial(ImageFolder, split="test", root=tmp_path, attributes="about.csv")
    path, before = tmp_path / "test" / "cat" / "00.png", make().fingerprint()
    if change == "touch":
        os.utime(path, ns=(0, 1))
    elif change == "grow":
        stat = path.stat()
        path.write_bytes(path.read_bytes() + b"\0")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    elif change == "add":
        csv(tmp_path, *lines, "test/dog/00.png,1")
    elif change == "attribute":
        csv(tmp_path, *lines[:-1], lines[-1].replace(",1", ",2"))
    assert (make().fingerprint() == before) == (change == "nothing")


# images


@pytest.mark.parametrize("shape", [(40, 90), (90, 40), (50, 50)])
def test_scaling_matches_torchvision(shape: tuple[int, int]) -> None:
    """The central square, as from Resize and CenterCrop (which may shift it by half a pixel)."""
    y, x = np.mgrid[: shape[0], : shape[1]] / 90
    smooth = np.stack([x, y, (x + y) / 2], axis=2)
    image = Image.fromarray(np.rint(255 * smooth).astype(np.uint8))
    both = Compose([Resize(20), CenterCrop(20)])
    expected = torch.from_numpy(np.array(both(image))).permute(2, 0, 1) / 255
    torch.testing.assert_close(Scaling(size=20)(image), expected, atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, "size must be a positive"),
        ({"mean": [0.5]}, "mean must be three numbers"),
        ({"std": [1, 1, 0]}, "std must be positive"),
    ],
)
def test_invalid_scaling_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scaling(**settings)


@pytest.mark.parametrize("word", sorted(file.stem for file in (CONFIGS / "dataset").glob("*.yaml")))
def test_the_settings_of_every_dataset_fit_its_class(word: str) -> None:
    """FashionMNIST inherits MNIST's; the annotations of every class can be read."""
    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        settings = dataset_own_settings(compose("discover", [f"dataset={word}"]).dataset)
    build(settings, "dataset", {"split"})
    if "size" in settings:
        settings.size = "large"
        with pytest.raises(ValueError, match=r"dataset\.size must be"):
            build(settings, "dataset", {"split"})
