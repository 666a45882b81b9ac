"""CelebA: targets and attributes as in the files, the published splits, and biased training sets."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import Compose, Resize, ToTensor

from layouts import celeba
from weakspot.datasets.celeba import CelebA, read_attributes

SMILING, MALE = celeba.ATTRIBUTES.index("Smiling"), celeba.ATTRIBUTES.index("Male")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    celeba.write(tmp_path)
    return tmp_path / "celeba"


def kaggle(root: Path) -> None:
    """Rearrange the files into Kaggle's layout."""
    _, header, *rows = (root / "list_attr_celeba.txt").read_text().splitlines()
    lines = [",".join(["image_id", *header.split()]), *(",".join(row.split()) for row in rows)]
    (root / "list_attr_celeba.csv").write_text("\n".join(lines) + "\n")
    (root / "list_attr_celeba.txt").unlink()
    listed = (root / "list_eval_partition.txt").read_text().replace(" ", ",")
    (root / "list_eval_partition.csv").write_text(f"image_id,partition\n{listed}")
    (root / "list_eval_partition.txt").unlink()
    (root / "img_align_celeba").rename(root / "unpacked")
    (root / "img_align_celeba").mkdir()
    (root / "unpacked").rename(root / "img_align_celeba" / "img_align_celeba")


def publisher(root: Path) -> None:
    """Move the files into the folders of the publisher's drive."""
    for folder, name in (
        ("Anno", "list_attr_celeba.txt"),
        ("Eval", "list_eval_partition.txt"),
        ("Img", None),
    ):
        (root / folder).mkdir()
        name = name or "img_align_celeba"
        (root / name).rename(root / folder / name)


@pytest.mark.parametrize("layout", [None, kaggle, publisher, "no partition"])
def test_targets_attributes_and_splits_follow_the_files(root: Path, layout: object) -> None:
    if callable(layout):
        layout(root)
    elif layout:
        (root / "list_eval_partition.txt").unlink()
    marks = celeba.marks()
    for split, start, stop in (("train", 0, 40), ("val", 40, 52), ("test", 52, 82)):
        dataset = CelebA(split, root)
        dataset.check()
        assert dataset.examples["id"].to_pylist() == [f"{n:06d}.jpg" for n in celeba.NUMBERS[start:stop]]
        assert dataset.examples.column_names[1:] == celeba.ATTRIBUTES
        table = np.array([dataset.examples[name].to_pylist() for name in celeba.ATTRIBUTES]).T
        np.testing.assert_array_equal(table == "yes", marks[start:stop] == 1)
        assert set(table.ravel()) == {"yes", "no"}
        np.testing.assert_array_equal(dataset.targets, marks[start:stop, SMILING] == 1)
        assert dataset.task.classes == ("not Smiling", "Smiling")
        assert dataset.preview(0).size == (178, 218)


def test_partition_entries_are_matched_by_file_name(root: Path) -> None:
    file = root / "list_eval_partition.txt"
    lines = file.read_text().splitlines()
    lines[0] = "000001.jpg 2"
    file.write_text("\n".join(reversed(lines)) + "\n")
    assert len(CelebA("train", root)) == 39
    assert CelebA("test", root).examples["id"][0].as_py() == "000001.jpg"
    file.write_text("\n".join(lines[1:]) + "\n")
    with pytest.raises(
        ValueError, match=r"list_eval_partition\.txt does not say which split 000001\.jpg is in"
    ):
        CelebA("train", root)


def test_an_image_listed_twice_is_named(root: Path) -> None:
    file = root / "list_eval_partition.txt"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines, "000001.jpg 2"]) + "\n")
    where = rf"list_eval_partition\.txt, line {len(lines) + 1}: 000001\.jpg is in line 1 already"
    with pytest.raises(ValueError, match=where):
        CelebA("test", root)


@pytest.mark.parametrize("layout", ["txt", "csv"])
def test_files_may_begin_with_a_byte_order_mark(root: Path, layout: str) -> None:
    if layout == "csv":
        kaggle(root)
    plain = CelebA("test", root).examples
    for name in ("list_attr_celeba", "list_eval_partition"):
        file = root / f"{name}.{layout}"
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert CelebA("test", root).examples.equals(plain)


@pytest.mark.parametrize("layout", ["list_attr_celeba.txt", "list_attr_celeba.csv"])
def test_a_header_in_another_encoding_is_named(root: Path, layout: str) -> None:
    if layout.endswith(".csv"):
        kaggle(root)
    file = root / layout
    file.write_bytes(file.read_bytes().replace(b"Smiling", b"Smiling\xe9"))
    with pytest.raises(ValueError, match=r"list_attr_celeba\....,\sline [12] is not UTF-8 text"):
        CelebA("test", root)


@pytest.mark.parametrize("size", [0, [0, 10]])
def test_a_size_that_is_not_positive_is_refused(root: Path, size: object) -> None:
    with pytest.raises(ValueError, match="size must be a positive number of pixels, not "):
        CelebA("test", root, size=size)  # type: ignore[arg-type]


def test_transform_is_the_published_one(root: Path) -> None:
    """torchvision.transforms' Resize(224) and ToTensor, as in experiments/celeba of the UDIS repository."""
    dataset = CelebA("test", root)
    with Image.open(root / "img_align_celeba" / "182640.jpg") as image:
        expected = Compose([Resize(224), ToTensor()])(image)
    assert expected.shape == (3, 274, 224)
    torch.testing.assert_close(dataset[2]["input"], expected)
    scaled = CelebA("test", root, size=[32, 48], mean=[0.5] * 3, std=[0.25] * 3)[2]["input"]
    assert scaled.shape == (3, 32, 48)
    torch.testing.assert_close(scaled, (CelebA("test", root, size=[32, 48])[2]["input"] - 0.5) / 0.25)


def test_any_attribute_may_be_the_target(root: Path) -> None:
    dataset = CelebA("test", root, target="Male")
    np.testing.assert_array_equal(dataset.targets, celeba.marks()[52:, MALE] == 1)
    for setting in ("target", "bias"):
        with pytest.raises(ValueError, match=rf"dataset\.{setting}=smilling .* nearest: Smiling"):
            CelebA("test", root, **{setting: "smilling"})
    with pytest.raises(ValueError, match="the target itself"):
        CelebA("test", root, bias="Smiling")


def ids(dataset: CelebA) -> set[str]:
    return set(dataset.examples["id"].to_pylist())


def test_bias_leaves_out_training_examples_that_disagree(root: Path) -> None:
    make = partial(CelebA, root=root, bias="Male")
    marks = celeba.marks()[:40]
    disagree = marks[:, MALE] != marks[:, SMILING]
    names = np.array([f"{n:06d}.jpg" for n in celeba.NUMBERS[:40]])
    agreeing = set(names[~disagree])
    assert ids(make("train", bias_share=1.0)) == agreeing
    assert ids(make("train", bias_share=0.0)) == set(names)
    some, more = ids(make("train", bias_share=0.4)), ids(make("train"))
    assert agreeing < more < some < set(names), "a larger share leaves out the same ones and others"
    assert ids(make("train", bias_seed=1)) != more
    for split in ("val", "test"):
        assert ids(make(split)) == ids(CelebA(split, root))
    file = root / "list_attr_celeba.txt"
    count, header, *rows = file.read_text().splitlines()
    file.write_text("\n".join([count, header, *reversed(rows)]) + "\n")
    assert ids(make("train")) == more, "the order of rows changes nothing"
    with pytest.raises(ValueError, match=r"bias_share is the share to leave out, from 0 to 1, not 70"):
        make("train", bias_share=70)


def test_bias_leaves_out_its_share_in_a_large_training_set(tmp_path: Path) -> None:
    n = 20_000
    values = np.where(np.random.default_rng(3).random((n, 2)) < 0.5, 1, -1)
    rows = celeba.lines([f"{k + 1:06d}.jpg" for k in range(n)], values)
    (tmp_path / "list_attr_celeba.txt").write_text("\n".join([str(n), "Black_Hair Smiling", *rows]) + "\n")
    (tmp_path / "img_align_celeba").mkdir()
    kept = CelebA("train", tmp_path, bias="Black_Hair").examples
    black, smiling = (kept[name].to_numpy() == "yes" for name in ("Black_Hair", "Smiling"))
    for hair in (False, True):
        before = ((values == 1) == (hair, not hair)).all(axis=1).sum()
        assert abs((black == hair)[smiling != hair].sum() / before - 0.3) < 0.03


@pytest.mark.parametrize(
    ("line", "text", "words"),
    [
        (0, "image_id", ["line 1", "number of images"]),
        (0, "81", ["81 images", "82"]),
        (4, "000003.jpg 1 -1", ["line 5", "Expected 41 columns, got 3"]),
        (5, "000004.jpg " + " ".join(["1"] * 39 + ["x"]), ["line 6", "'x'"]),
        (6, "000005.jpg " + " ".join(["1"] * 39 + ["0"]), ["line 7", "Young of 000005.jpg is 0", "-1 or 1"]),
    ],
)
def test_bad_rows_are_named(root: Path, line: int, text: str, words: list[str]) -> None:
    file = root / "list_attr_celeba.txt"
    lines = file.read_text().splitlines()
    lines[line] = text
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError) as caught:
        CelebA("train", root)
    assert all(word in str(caught.value) for word in [str(file), *words]), caught.value


def test_missing_and_damaged_files_are_named(root: Path) -> None:
    dataset = CelebA("train", root)
    image = root / "img_align_celeba" / "000002.jpg"
    image.write_bytes(image.read_bytes()[:900])
    with pytest.raises(ValueError, match=f"row 1 of train: {image} cannot be read as an image"):
        dataset[1]
    image.unlink()
    with pytest.raises(FileNotFoundError, match=f"row 1 of train: there is no file {image}"):
        dataset[1]
    with pytest.raises(FileNotFoundError, match=f"row 1 of train: there is no file {image}"):
        dataset.fingerprint()
    (root / "list_eval_partition.txt").write_text("000001.jpg 3\n")
    with pytest.raises(ValueError, match=r"list_eval_partition\.txt, line 1: split of 000001\.jpg is 3"):
        CelebA("train", root)
    (root / "img_align_celeba").rename(root / "elsewhere")
    (root / "list_eval_partition.txt").unlink()
    with pytest.raises(FileNotFoundError, match="no folder img_align_celeba"):
        CelebA("train", root)
    with pytest.raises(FileNotFoundError, match=r"no list_attr_celeba\.txt .* set dataset\.root"):
        CelebA("train", root / "elsewhere")


def test_unnumbered_images_need_a_partition(root: Path) -> None:
    (root / "list_eval_partition.txt").unlink()
    file = root / "list_attr_celeba.txt"
    file.write_text(file.read_text().replace("000007.jpg", "seven.jpg"))
    with pytest.raises(
        ValueError, match=r"not named by their numbers .* put list_eval_partition\.txt beside"
    ):
        CelebA("train", root)
    assert len(read_attributes(file)) == len(celeba.NUMBERS)
