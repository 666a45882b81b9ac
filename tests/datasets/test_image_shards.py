"""Images in webdataset tars and in Parquet shards: what is read, what is skipped, what is refused."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from image_shards import encoded, parquets, rows, sample, tar, tars
from weakspot.datasets.datamodule import DataModule
from weakspot.datasets.image_parquet import ImageParquet
from weakspot.datasets.readers.parquet_shards import EncodedImages, read_columns
from weakspot.datasets.webdataset import WebDataset

SPLITS = ("train", "val", "test")


KINDS = {"webdataset": (WebDataset, tars), "image_parquet": (ImageParquet, parquets)}


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_has_its_own_image_label_and_attributes(kind, tmp_path):
    make, write = KINDS[kind]
    write(tmp_path)
    seen = set()
    for split in SPLITS:
        data = make(split, root=tmp_path, size=None)
        order = np.random.default_rng(0).permutation(len(data))
        for row in map(int, order):
            k = data.examples["age"][row].as_py()
            seen.add(k)
            assert np.asarray(data.preview(row))[0, 0].tolist() == [k % 256, 7 * k % 256, 100]
            assert data.task.classes[data.targets[row]] == ("cat", "dog")[k % 2]
            assert data.examples["light"][row].as_py() == ("day", "night")[k % 3 % 2]
    assert seen == set(range(60))


@pytest.mark.parametrize("kind", KINDS)
def test_the_split_comes_from_the_name_or_folder_of_a_shard(kind, tmp_path):
    """The split is in a shard's name or folder; if only val is missing, it is a tenth of train."""
    _, write = KINDS[kind]
    make, _ = KINDS[kind]
    write(tmp_path / "all")
    files = sorted((tmp_path / "all").iterdir())
    root = tmp_path / "named"
    (root / "test").mkdir(parents=True)
    files[0].rename(root / f"pets-train-0{files[0].suffix}")
    files[1].rename(root / f"pets-Train-1{files[1].suffix}")
    files[2].rename(root / "test" / files[2].name)
    found = {split: make(split, root=root) for split in SPLITS}
    assert sorted(found["test"].examples["age"].to_pylist()) == list(range(2, 60, 3))
    assert 0 < len(found["val"]) < 12
    assert len(found["val"]) + len(found["train"]) == 40
    # with the classes given, only the split's own shards are opened
    (root / "test" / files[2].name).write_bytes(b"damaged")
    given = make("val", root=root, classes=["dog", "cat"])
    assert given.task.classes == ("dog", "cat")
    assert given.examples["id"].to_pylist() == found["val"].examples["id"].to_pylist()
    (root / f"unnamed{files[0].suffix}").write_bytes(b"")
    with pytest.raises(ValueError, match=r"unnamed.* names no split, and others do"):
        make("train", root=root)


@pytest.mark.parametrize("kind", KINDS)
def test_worker_processes_load_the_same_batches_as_one_process(kind, tmp_path):
    make, write = KINDS[kind]
    write(tmp_path)
    batches = [
        [
            batch["input"]
            for batch in DataModule(
                partial(make, root=tmp_path, size=8), batch_size=5, num_workers=workers
            ).loader("train")
        ]
        for workers in (0, 2)
    ]
    for one, two in zip(*batches, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("kind", KINDS)
def test_a_rewritten_shard_has_another_fingerprint(kind, tmp_path):
    make, write = KINDS[kind]
    write(tmp_path)
    before = make("test", root=tmp_path).fingerprint()
    assert make("test", root=tmp_path).fingerprint() == before
    write(tmp_path)
    assert make("test", root=tmp_path).fingerprint() != before


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_not_an_image_is_named(kind, tmp_path):
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    if kind == "webdataset":
        tar(
            tmp_path / "test-0.tar",
            ("a/x.png", eps),
            ("a/x.cls", b"0"),
            ("a/y.png", encoded(1)),
            ("a/y.cls", b"1"),
        )
        data, name = WebDataset("test", root=tmp_path), "test-0/a/x"
    else:
        table = pa.table({"image": [eps, encoded(1)], "label": [0, 1]})
        pq.write_table(table, tmp_path / "test-0.parquet")
        data, name = ImageParquet("test", root=tmp_path), "test-0/000000"
    with pytest.raises(
        ValueError, match=rf"row 0 of test: .*{name} cannot be read as an image \(it is not an image\)"
    ):
        data.preview(0)
    assert data.preview(1).size == (12, 10)


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_folder_is_named(kind, tmp_path):
    make, _ = KINDS[kind]
    with pytest.raises(FileNotFoundError, match=r"set dataset\.root to where they are"):
        make("test", root=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"set dataset\.root to the one that holds them"):
        make("test", root=tmp_path / "nowhere")


# webdataset


def test_numeric_classes_are_read_and_other_members_skipped(tmp_path):
    """A pickle beside an image is skipped without being opened."""

    class Harmful:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was opened",))

    members = []
    for k, name in enumerate(("b/2.JPG", "b/1.jpeg", "c.d.png", "./e.webp")):
        kind = {"JPG": "JPEG", "jpeg": "JPEG", "png": "PNG", "webp": "WEBP"}[name.rpartition(".")[2]]
        start = name.partition("." if not name.startswith("./") else ".webp")[0]
        if name == "c.d.png":  # the key ends at the first dot, so `d.png` is not its image
            members += [("c.png", encoded(k)), ("c.d.png", encoded(99))]
        else:
            members.append((name, encoded(k, kind=kind)))
        members.append((f"{start}.cls", f"{k % 2}\n".encode()))
        members.append((f"{start}.pyd", pickle.dumps(Harmful())))
        members.append((f"{start}.txt", b"a caption"))
    members.append(("b/._2.JPG", b"of a Mac"))
    tar(tmp_path / "test.tar", *members)
    refused = r"dataset\.label=score: no JSON member in .* has it \(leave it out to read key\.cls\)"
    with pytest.raises(ValueError, match=rf"{refused}; there are: none$"):
        WebDataset("test", root=tmp_path, label="score")
    tar(tmp_path / "more_test.tar", ("a.png", encoded(0)), ("a.json", b'{"scores": 1}'))
    with pytest.raises(ValueError, match=rf"{refused}\. Did you mean scores\?$"):
        WebDataset("test", root=tmp_path, label="score")
    (tmp_path / "more_test.tar").unlink()
    data = WebDataset("test", root=tmp_path, classes=["cat", "dog"], size=None)
    assert data.examples["id"].to_pylist() == ["test/b/2", "test/b/1", "test/c", "test/e"]
    assert data.task.classes == ("cat", "dog")
    assert data.targets.tolist() == [0, 1, 0, 1]
    assert np.asarray(data.preview(2))[0, 0].tolist() == [2, 14, 100]
    assert WebDataset("test", root=tmp_path).task.classes == ("0", "1")


def test_members_of_an_example_need_not_be_adjacent(tmp_path):
    """As when `tar` packs a folder; an attribute with values of several types becomes text."""
    labels = [
        (f"{k}.json", json.dumps({"label": k % 2, "id": 7, "note": [3, "three"][k % 2]}).encode())
        for k in range(4)
    ]
    tar(tmp_path / "test.tar", *labels, *[(f"{k}.png", encoded(k)) for k in reversed(range(4))])
    data = WebDataset("test", root=tmp_path)
    data.check()
    assert data.examples.to_pydict() == {
        "id": [f"test/{k}" for k in range(4)],
        "note": ["3", "three", "3", "three"],
    }
    assert data.targets.tolist() == [0, 1, 0, 1]


def test_fractional_labels_make_a_regression(tmp_path):
    tar(
        tmp_path / "test.tar",
        *[
            (f"{k}.{kind}", content)
            for k in range(4)
            for kind, content in (("png", encoded(k)), ("json", json.dumps({"score": k / 2}).encode()))
        ],
    )
    data = WebDataset("test", root=tmp_path, label="score")
    assert data.targets.tolist() == [0, 0.5, 1, 1.5]


IMAGE, CLS = ("1.png", encoded(1)), ("1.cls", b"0")


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([CLS], "1 has no image beside it"),
        ([IMAGE], "no row has a 'label'"),
        ([IMAGE, CLS, ("2.png", encoded(1))], "test/2: label is None; give one"),
        ([IMAGE, CLS, ("1.jpg", encoded(1))], "1.jpg is a second image of one key"),
        ([IMAGE, ("1.json", b"{")], "key '1.json' cannot be read"),
        ([IMAGE, ("1.json", b"[" * 100_000)], "key '1.json' cannot be read: it is nested too deeply"),
        ([IMAGE, ("1.json", b"[3]")], "it is not a JSON object"),
        (
            [IMAGE, ("1.json", b'{"a": "' + b"x" * (1 << 20) + b'"}')],
            "1.json has 1048585 bytes, more than 1048576",
        ),
        (
            [IMAGE, ("1.json", json.dumps({str(k): k for k in range(1001)}).encode())],
            "1001 fields, more than 1000",
        ),
        ([IMAGE, ("1.cls", b"\xff")], "key '1.cls' cannot be read"),
        ([("readme.txt", b"")], "no member is an image"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_tar_that_cannot_be_used_is_named(members, said, tmp_path):
    tar(tmp_path / "test.tar", *members)
    with pytest.raises(ValueError, match=rf"{tmp_path}.*{said}"):
        WebDataset("test", root=tmp_path)


def test_damaged_and_compressed_tars_are_named(tmp_path):
    file = tar(tmp_path / "test.tar", CLS, ("1.png", encoded(1, (400, 300), "BMP")))
    whole = file.read_bytes()
    file.write_bytes(whole[:20_000])
    with pytest.raises(
        ValueError, match=r"test\.tar cannot be read: 1\.png does not end before the file does"
    ):
        WebDataset("test", root=tmp_path)
    import gzip

    for content in (gzip.compress(whole), b"no tar", b""):
        file.write_bytes(content)
        with pytest.raises(
            ValueError, match=r"test\.tar cannot be read: it is not a tar, or it is compressed|no member"
        ):
            WebDataset("test", root=tmp_path)
    file.write_bytes(whole)
    data = WebDataset("test", root=tmp_path)
    file.write_bytes(whole[:20_000])
    with pytest.raises(ValueError, match=r"test/1 cannot be read as an image \(its tar has been cut short\)"):
        data.preview(0)


def test_links_in_a_tar_are_not_followed(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(encoded(5))
    root = tmp_path / "root"
    root.mkdir()
    with tarfile.open(root / "test.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
            about = tarfile.TarInfo(f"{kind[0]}.png")
            about.type, about.linkname = kind, str(secret)
            archive.addfile(about)
        for name, content in (IMAGE, CLS):
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    assert WebDataset("test", root=root).examples["id"].to_pylist() == ["test/1"]


def test_a_header_with_a_negative_size_ends_the_scan(tmp_path):
    """A negative size in base 256, as in crafted tars."""
    file = tar(tmp_path / "test.tar", CLS, IMAGE)
    content = bytearray(file.read_bytes())
    content[1024 + 124 : 1024 + 136] = (-1024).to_bytes(12, "big", signed=True)
    content[1024 + 148 : 1024 + 156] = b" " * 8
    content[1024 + 148 : 1024 + 156] = f"{sum(content[1024:1536]):06o}\0 ".encode()
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"test\.tar cannot be read"):
        WebDataset("test", root=tmp_path)


# image_parquet


def test_hugging_face_images_with_ids_and_splits_are_read(tmp_path):
    images = [{"bytes": encoded(k), "path": None} for k in range(6)]
    table = pa.table(
        {
            "picture": images,
            "class": [0, 1] * 3,
            "key": list("uvwxyz"),
            "split": ["train"] * 4 + ["val", "test"],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    make = partial(
        ImageParquet,
        root=tmp_path,
        image="picture",
        label="class",
        id="key",
        classes=["cat", "dog"],
        size=None,
    )
    found = {split: make(split) for split in SPLITS}
    assert [data.examples["id"].to_pylist() for data in found.values()] == [list("uvwx"), ["y"], ["z"]]
    assert found["train"].targets.tolist() == [0, 1, 0, 1]
    assert np.asarray(found["test"].preview(0))[0, 0].tolist() == [5, 35, 100]


def test_reading_rows_in_order_reads_each_row_group_once(tmp_path, monkeypatch):
    parquets(tmp_path)
    data = ImageParquet("train", root=tmp_path)
    read = []
    original = EncodedImages._read
    monkeypatch.setattr(
        EncodedImages, "_read", lambda self, group: read.append(group) or original(self, group)
    )
    for row in range(len(data)):
        data.preview(row)
    assert read == sorted(set(read))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda t: t.drop_columns(["image"]),
            "there is no column 'image'; say which holds the images: dataset.image=",
        ),
        (
            lambda t: t.set_column(0, "image", pa.array([1.5] * len(t))),
            "column 'image' holds double, not the bytes",
        ),
        (lambda t: t.drop_columns(["label"]), "no row has a 'label'"),
        (
            lambda t: t.set_column(1, "label", pa.array(["cat"] * (len(t) - 1) + [None])),
            "test.parquet, row 6: label is",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_named(change, said, tmp_path):
    pq.write_table(change(rows(range(6))), tmp_path / "test.parquet")
    with pytest.raises(ValueError, match=rf"{tmp_path}.*{said}"):
        ImageParquet("test", root=tmp_path)


def test_files_of_other_types_and_missing_images_are_named(tmp_path):
    pq.write_table(rows(range(6)), tmp_path / "test-a.parquet")
    other = rows(range(6))
    pq.write_table(other.set_column(3, "age", [[[1]] * 6]), tmp_path / "test-b.parquet")
    with pytest.raises(ValueError, match=r"test-b\.parquet are of other types than those of test-a\.parquet"):
        ImageParquet("test", root=tmp_path)
    none = other.set_column(0, "image", pa.array([None, *[encoded(1)] * 5], pa.binary()))
    pq.write_table(none, tmp_path / "test-b.parquet")
    data = ImageParquet("test", root=tmp_path)
    with pytest.raises(
        ValueError, match=r"row 6 of test: .*/test-b/000000 cannot be read .*\(there is none\)"
    ):
        data.preview(6)


def test_named_val_shards_leave_train_whole_with_or_without_classes(tmp_path):
    for split in SPLITS:
        numbers = range(
            {"train": 0, "val": 60, "test": 90}[split], {"train": 60, "val": 90, "test": 120}[split]
        )
        tar(tmp_path / f"pets-{split}.tar", *(member for k in numbers for member in sample(k)))
    sizes = {
        classes: [len(WebDataset(split, tmp_path, classes=classes, size=8)) for split in SPLITS]
        for classes in (None, ("cat", "dog"))
    }
    assert sizes == {None: [60, 30, 30], ("cat", "dog"): [60, 30, 30]}


@pytest.mark.parametrize("cut", [False, True])
def test_a_damaged_or_cut_header_is_not_taken_for_the_end(cut, tmp_path):
    path = tar(tmp_path / "pets.tar", *(member for k in range(6) for member in sample(k)))
    with tarfile.open(path) as archive:
        place = archive.getmembers()[6].offset
    content = bytearray(path.read_bytes())
    content[place + 150] ^= 1  # in the checksum
    path.write_bytes(content[: place + 200] if cut else content)
    with pytest.raises(ValueError, match=f"no header at byte {place}"):
        WebDataset("train", tmp_path, size=8)


def test_another_image_column_has_another_identity(tmp_path):
    table = rows(range(20))
    table = table.append_column("mask", pa.array([encoded(k + 100) for k in range(20)]))
    pq.write_table(table, tmp_path / "pets.parquet")
    assert "mask" not in ImageParquet("train", tmp_path, size=8).examples.column_names
    one, other = (ImageParquet.identity({"image": name, "root": str(tmp_path)}) for name in ("image", "mask"))
    assert one != other


def test_different_numbers_of_images_and_of_other_rows_are_refused(tmp_path):
    """They differ if a footer is damaged, and a label would go to another image."""
    file = tmp_path / "images.parquet"
    pq.write_table(pa.table({"image": [b"", b""], "label": ["a", "b"]}), file)
    assert read_columns([file], [2], ("label",)).num_rows == 2
    with pytest.raises(
        ValueError, match=r"images\.parquet cannot be read: it announces 3 images, .* have 2 rows"
    ):
        read_columns([file], [3], ("label",))
