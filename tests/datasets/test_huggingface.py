"""Hugging Face datasets, made by the tests: saved to disk, in Parquet and in CSV; none over a network."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from PIL import Image

from shell import Shell
from tiny_models import write_model, write_tokenizer
from weakspot import Predictions
from weakspot.datasets import huggingface
from weakspot.datasets.base import Dataset
from weakspot.datasets.huggingface import HubImages, HubTexts, open_hub

SPLITS = ("train", "val", "test")
TEXTS = [f"{word}, {row} times over" for row in range(60) for word in ("good", "bad")]


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r'pip install "weakspot\[huggingface\]"'):
        open_hub("test", "anything")
    with pytest.raises(ValueError, match=r"add dataset\.name="):
        open_hub("test")


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The library, with its cache in this test's folder."""
    library = pytest.importorskip("datasets")
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    library.disable_progress_bars()
    return library


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    (tmp_path / "words").mkdir()
    write_tokenizer(tmp_path / "words", TEXTS)
    return tmp_path / "words"


def images(library: Any, n: int, start: int = 0) -> Any:
    features = library.Features(
        {
            "id": library.Value("int64"),
            "photo": library.Image(),
            "label": library.ClassLabel(names=["cat", "dog"]),
            "place": library.ClassLabel(names=["in", "out"]),
            "age": library.Value("int32"),
            "boxes": library.List(library.Value("int32")),
        }
    )
    shades = [np.full((10, 12, 3), start + row, np.uint8) for row in range(n)]
    return library.Dataset.from_dict(
        {
            "id": [100 + row for row in range(n)],
            "photo": [Image.fromarray(shade) for shade in shades],
            "label": [row % 2 for row in range(n)],
            "place": [row % 3 // 2 for row in range(n)],
            "age": list(range(n)),
            "boxes": [[row] for row in range(n)],
        },
        features=features,
    )


def everything(found: list[Dataset]) -> list[str]:
    return [name for dataset in found for name in dataset.examples["id"].to_pylist()]


@pytest.mark.optional
def test_images_saved_to_disk(library: Any, tmp_path: Path) -> None:
    splits = {"train": images(library, 60), "test": images(library, 6, start=100)}
    library.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    found = [open_hub(split, tmp_path / "saved", size=8) for split in SPLITS]
    for dataset in found:
        assert isinstance(dataset, HubImages)
        dataset.check()
        assert dataset.task.classes == ("cat", "dog")
    train, val, test = found
    assert sorted(everything([train, val])) == sorted(f"train-{100 + row}" for row in range(60))
    assert 0 < len(val) < 15
    assert test.examples.to_pydict() == {
        "id": [f"test-{100 + row}" for row in range(6)],
        "place": ["in", "in", "out", "in", "in", "out"],
        "age": list(range(6)),
    }
    assert test.targets.tolist() == [0, 1, 0, 1, 0, 1]
    assert np.asarray(test.preview(3))[0, 0].tolist() == [103, 103, 103]
    assert np.asarray(val.preview(2))[0, 0, 0] == val.examples["age"][2].as_py(), (
        "rows and images go together"
    )
    assert test[0]["input"].shape == (3, 8, 8)
    again = open_hub("test", "saved", root=tmp_path, size=8)
    assert again.fingerprint() == test.fingerprint()
    assert len({dataset.fingerprint() for dataset in found}) == 3


@pytest.mark.optional
def test_texts_in_parquet_and_csv(library: Any, tmp_path: Path, tokenizer: Path) -> None:
    table = pa.table({"sentence": TEXTS, "label": ["good", "bad"] * 60, "stars": np.arange(120) % 5})
    (tmp_path / "parquet").mkdir()
    pa.parquet.write_table(table, tmp_path / "parquet" / "train-00000-of-00001.parquet")
    pa.parquet.write_table(table.slice(0, 9), tmp_path / "parquet" / "validation.parquet")
    found = [open_hub(split, tmp_path / "parquet", tokenizer=tokenizer) for split in SPLITS]
    assert [type(dataset) for dataset in found] == [HubTexts] * 3
    assert everything(found[2:]) == [f"validation-{row:06d}" for row in range(9)], "what there is, is audited"
    assert found[2].texts == TEXTS[:9]
    assert sorted(everything(found[:2])) == [f"train-{row:06d}" for row in range(120)]
    for dataset in found:
        assert dataset.task.classes == ("bad", "good")
        assert dataset.examples.column_names == ["id", "stars"]
        for row in range(len(dataset)):
            assert dataset.preview(row).startswith(dataset.task.classes[dataset.targets[row]])
    (tmp_path / "csv").mkdir()
    pa.csv.write_csv(table, tmp_path / "csv" / "train.csv")
    alone = [open_hub(split, tmp_path / "csv", tokenizer=tokenizer) for split in SPLITS]
    assert sorted(everything(alone)) == [f"train-{row:06d}" for row in range(120)]
    assert all(len(dataset) for dataset in alone)


@pytest.mark.optional
def test_integer_labels_are_classes_even_minus_one(library: Any, tmp_path: Path, tokenizer: Path) -> None:
    rows = library.Dataset.from_dict({"text": TEXTS, "label": [-1, 1] * 60})
    library.DatasetDict(test=rows).save_to_disk(tmp_path / "saved")
    test = open_hub("test", tmp_path / "saved", tokenizer=tokenizer)
    assert test.task.classes == ("-1", "1")
    assert test.targets.tolist() == [0, 1] * 60


def test_a_table_without_images_and_texts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface, "_load", lambda *_: {"test": SimpleNamespace(features={"label": None})})
    with pytest.raises(ValueError, match=r"no column of images or texts; say which .*\(it has: label\)"):
        open_hub("test", "anything")
    with pytest.raises(ValueError, match=r"no column 'kind'; say which"):
        open_hub("test", "anything", label="kind")


@pytest.mark.optional
def test_repeated_texts_share_a_split(library: Any, tmp_path: Path, tokenizer: Path) -> None:
    rows = library.Dataset.from_dict({"text": TEXTS[:12] * 10, "label": [0, 1] * 60})
    library.DatasetDict(train=rows).save_to_disk(tmp_path / "saved")
    train, test = (open_hub(split, tmp_path / "saved", tokenizer=tokenizer) for split in ("train", "test"))
    assert isinstance(train, HubTexts)
    assert isinstance(test, HubTexts)
    assert not set(train.texts) & set(test.texts)
    assert len(test) % 10 == 0


@pytest.mark.optional
def test_errors_name_what_is_wrong(library: Any, tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"nobody/nothing is not a folder.* add dataset\.download=true"
    ):
        open_hub("test", "nobody/nothing")
    folder = tmp_path / "saved"
    library.DatasetDict(test=images(library, 4)).save_to_disk(folder)
    with pytest.raises(ValueError, match="nothing for split 'train'; it has: test"):
        open_hub("train", folder)
    with pytest.raises(ValueError, match=r"no column 'kind'.*dataset\.label=.*id, photo, label"):
        open_hub("test", folder, label="kind")
    with pytest.raises(ValueError, match="labels in 'boxes' are List"):
        open_hub("test", folder, label="boxes")
    cats = library.Features(
        {"text": library.Value("string"), "label": library.ClassLabel(names=["cat", "dog"])}
    )
    rows = library.Dataset.from_dict({"text": TEXTS[:3], "label": [1, 0, -1]}, features=cats)
    library.DatasetDict(test=rows).save_to_disk(tmp_path / "unlabelled")
    with pytest.raises(ValueError, match=r"row 2 of test has no label \(-1\)"):
        open_hub("test", tmp_path / "unlabelled", tokenizer="unused")
    (tmp_path / "parquet").mkdir()
    plain = pa.table({"text": TEXTS[:2], "label": [1, 0]})
    pa.parquet.write_table(plain, tmp_path / "parquet" / "test.parquet")
    with pytest.raises(ValueError, match="model=text_classifier"):
        open_hub("test", tmp_path / "parquet")
    (tmp_path / "parquet" / "test.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(ValueError, match=f"{tmp_path}/parquet cannot be read by the datasets library"):
        open_hub("test", tmp_path / "parquet")


@pytest.mark.optional
def test_a_damaged_image_is_named(library: Any, tmp_path: Path) -> None:
    encoded = [{"bytes": b"no image", "path": "a.png"}, None]
    features = library.Features({"image": library.Image(), "label": library.ClassLabel(names=["cat", "dog"])})
    rows = library.Dataset.from_dict({"image": encoded, "label": [0, 1]}, features=features)
    library.DatasetDict(test=rows).save_to_disk(tmp_path / "saved")
    test = open_hub("test", tmp_path / "saved")
    for row, reason in ((0, "cannot identify image"), (1, "there is none")):
        with pytest.raises(ValueError, match=rf"row {row} of test \(test-00000{row}\): its image .*{reason}"):
            test[row]


@pytest.mark.optional
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["images", "texts"])
def test_one_command_audits_it(library: Any, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "saved"
    words = ["model=small_cnn", "dataset.size=16"]
    if kind == "images":
        library.DatasetDict(train=images(library, 120)).save_to_disk(folder)
    else:
        rows = {"text": TEXTS, "label": ["good", "bad"] * 60, "age": [row % 7 for row in range(120)]}
        library.DatasetDict(train=library.Dataset.from_dict(rows)).save_to_disk(folder)
        write_model(tmp_path / "tiny", TEXTS, num_labels=2)
        words = ["model=text_classifier", f"model.name={tmp_path}/tiny"]
    small = ["training.epochs=1", "trainer=cpu", "logger=none", "dataset.spotlight_size=5", "num_workers=1"]
    words = ["dataset=huggingface", f"dataset.name={folder}", *words, *small]
    Shell(tmp_path)("discover", "-m", "method=spotlight,udis", *words)
    (made,) = (tmp_path / "outputs" / "predictions").glob("huggingface-*")
    assert "age" in Predictions.load(made).attributes.column_names
    assert len(list(tmp_path.glob("multirun/**/report.html"))) == 2
