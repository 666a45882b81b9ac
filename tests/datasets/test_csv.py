"""A user's own table of images or texts, in CSV, TSV or Parquet, and errors that name the line."""

from __future__ import annotations

import re
from datetime import date
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from PIL import Image

from layouts import csv as layout
from shell import Shell
from tiny_models import write_model, write_tokenizer
from weakspot import Predictions
from weakspot.datasets.csv import ImageTable, TextTable, open_table
from weakspot.datasets.readers.tables import read_table_file
from weakspot.tasks import Classification, Multilabel, Regression

SPLITS = ("train", "val", "test")
TEXTS = [f"{word}, {row} times over" for row in range(60) for word in ("good", "bad")]


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def image(folder: Path, name: str) -> None:
    Image.new("RGB", (12, 10), (200, 20, 20)).save(folder / name)


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    (tmp_path / "words").mkdir()
    write_tokenizer(tmp_path / "words", TEXTS)
    return tmp_path / "words"


def test_images_are_read(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        image(tmp_path, name)
    lines = [
        "light,path,label,split,age",
        "day,a.png,7,test,3",
        "night,./b.png,12,train,",
        "day,c.png,12,test,41",
    ]
    for file in (
        write(tmp_path / "my.csv", *lines),
        write(tmp_path / "my.tsv", *(x.replace(",", "\t") for x in lines)),
    ):
        test = open_table("test", file)
        assert isinstance(test, ImageTable)
        assert test.examples.to_pydict() == {
            "id": ["a.png", "c.png"],
            "light": ["day", "day"],
            "age": [3, 41],
        }
        assert test.task.classes == ("7", "12"), "numbers stand by size"
        assert test.targets.tolist() == [0, 1]
        assert test[1]["input"].shape == (3, 224, 224)
        assert test.path(1) == tmp_path / "c.png"


def test_parquet_with_other_column_names(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    image(tmp_path / "images", "a.png")
    table = {
        "photo": ["a.png"],
        "what": pa.array([True]),
        "key": ["x1"],
        "split": ["test"],
        "label": ["an attribute"],
    }
    pa.parquet.write_table(pa.table(table), tmp_path / "my.parquet")
    root = tmp_path / "images"
    pa.parquet.write_table(pa.table(table), root / "inside.parquet")
    for file in ("inside.parquet", tmp_path / "my.parquet"):
        test = open_table("test", file, root, image="photo", label="what", id="key")
        assert test.examples.to_pylist() == [{"id": "x1", "label": "an attribute"}]
        assert test.task.classes == ("true",)


def test_texts_are_read(tmp_path: Path, tokenizer: Path) -> None:
    rows = {"text": TEXTS, "label": ["good", "bad"] * 60, "stars": np.arange(120) % 5}
    pa.csv.write_csv(pa.table(rows), tmp_path / "my.csv")
    make = partial(open_table, file=tmp_path / "my.csv", tokenizer=tokenizer)
    found = [make(split) for split in SPLITS]
    assert all(isinstance(dataset, TextTable) for dataset in found)
    texts = [dataset.preview(row) for dataset in found for row in range(len(dataset))]
    assert sorted(texts) == sorted(TEXTS)
    for dataset in found:
        assert dataset.task.classes == ("bad", "good")
        for row in range(len(dataset)):
            assert dataset.preview(row).startswith(dataset.task.classes[dataset.targets[row]])
        assert dataset.examples.column_names == ["id", "stars"]
    pa.csv.write_csv(pa.table(rows).take(list(range(119, -1, -1))).slice(0, 100), tmp_path / "my.csv")
    again = make("test")
    kept = {again.preview(row) for row in range(len(again))}
    before = {found[2].preview(row) for row in range(len(found[2]))}
    assert kept <= before, "neither order nor number of rows moves a text to another split"


def test_repeated_texts_share_a_split(tmp_path: Path, tokenizer: Path) -> None:
    texts = [f"{word} {row}" for row in range(30) for word in ("good", "bad")] * 3
    pa.csv.write_csv(pa.table({"text": texts, "label": ["x"] * 180}), tmp_path / "my.csv")
    found = [open_table(split, tmp_path / "my.csv", tokenizer=tokenizer) for split in SPLITS]
    read = [{dataset.preview(row) for row in range(len(dataset))} for dataset in found]
    assert [3 * len(some) for some in read] == [len(dataset) for dataset in found]
    ids = [name for dataset in found for name in dataset.examples["id"].to_pylist()]
    assert len(set(ids)) == 180


def test_repeated_texts_share_a_split_whatever_their_ids(tmp_path: Path, tokenizer: Path) -> None:
    table = pa.table({"id": [f"r{row}" for row in range(120)], "text": TEXTS[:12] * 10, "label": ["x"] * 120})
    pa.csv.write_csv(table, tmp_path / "my.csv")
    found = [open_table(split, tmp_path / "my.csv", tokenizer=tokenizer) for split in ("train", "test")]
    read = [{dataset.preview(row) for row in range(len(dataset))} for dataset in found]
    assert not read[0] & read[1]


def test_a_header_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "my.csv").write_bytes("path,label,größe\na.png,x,1\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"my\.csv, line 1: column names are not UTF-8 text"):
        open_table("test", tmp_path / "my.csv")


def test_renamed_images_have_another_fingerprint(tmp_path: Path) -> None:
    """If ids come from a column, only the paths differ."""
    image(tmp_path, "a.png")
    file = write(tmp_path / "my.csv", "path,label,split,id", "a.png,x,test,1")
    before = open_table("test", file).fingerprint()
    (tmp_path / "a.png").rename(tmp_path / "b.png")
    write(file, "path,label,split,id", "b.png,x,test,1")
    assert open_table("test", file).fingerprint() != before


def test_labels_may_be_indices_into_given_classes(tmp_path: Path) -> None:
    image(tmp_path, "a.png")
    image(tmp_path, "b.png")
    file = write(tmp_path / "my.csv", "path,label,split", "a.png,2,test", "b.png,0,test")
    test = open_table("test", file, classes=["cat", "dog", "emu"])
    assert test.targets.tolist() == [2, 0]
    assert test.task.classes == ("cat", "dog", "emu")
    with pytest.raises(ValueError, match=r"my\.csv, line 2 is of class '2', not one of: cat, dog"):
        open_table("test", file, classes=["cat", "dog"])


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["path,label", "a.png,x", "z.png,x"], ["line 3", "no file", "z.png"]),
        (["path,label", "a.png,x", "b.png,"], ["line 3", "label is ''"]),
        (["path,label,note", 'a.png,x,"two', 'lines"', "", "b.png,,1"], ["line 5", "label is ''"]),
        (
            ["path,label", "a.png,x", "b.png,x,1"],
            ["line 3 cannot be read as CSV", "Expected 2 columns, got 3"],
        ),
        (["path,label", "a.png,x", "./a.png,x"], ["line 3", "line 2 already"]),
        (["path,label,split", "a.png,x,dev"], ["line 2", "split is 'dev'", "train, val, test"]),
        (["path,label,split", "a.png,x,train"], ["split 'test'", "some in: train"]),
        (["path,label,id", "a.png,x,1", "b.png,x,1"], ["line 3", "1 is in", "line 2 already"]),
        (["path,class", "a.png,x"], ["no column 'label'", "dataset.label=", "path, class"]),
        (["file,label", "a.png,x"], ["'path'", "'text'", "dataset.image=", "file, label"]),
        (["path,label,label", "a.png,x,y"], ["two columns 'label'"]),
        (["path,label"], ["no rows"]),
        (["text,label", "a,x"], ["model=text_encoder", "model.name="]),
    ],
)
def test_errors_name_the_file_and_what_is_wrong(tmp_path: Path, lines: list[str], words: list[str]) -> None:
    for name in ("a.png", "b.png"):
        image(tmp_path, name)
    file = write(tmp_path / "my.csv", *lines)
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        open_table("test", file)
    assert all(word in str(caught.value) for word in [str(file), *words]), caught.value


def test_files_that_are_not_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"add dataset\.file=my\.csv"):
        open_table("test")
    with pytest.raises(FileNotFoundError, match=f"no table at none.csv or {tmp_path}/none.csv"):
        open_table("test", "none.csv", root=tmp_path)
    with pytest.raises(ValueError, match=r"must end in \.csv, \.tsv, \.jsonl or \.parquet"):
        open_table("test", write(tmp_path / "my.xls", "x"))
    with pytest.raises(ValueError, match=r"my\.parquet cannot be read"):
        open_table("test", write(tmp_path / "my.parquet", "x"))
    pa.parquet.write_table(
        pa.table({"path": ["a"], "label": pa.array([None], pa.string())}), tmp_path / "n.parquet"
    )
    with pytest.raises(ValueError, match=r"n\.parquet, row 1: label is None"):
        open_table("test", tmp_path / "n.parquet")
    pa.parquet.write_table(pa.table({"path": ["a"], "label": ["x"]}), tmp_path / "n.parquet")
    (tmp_path / "a").touch()
    with pytest.raises(ValueError, match=r"n\.parquet, row 1: a does not end in one of"):
        open_table("test", tmp_path / "n.parquet")
    with pytest.raises(FileNotFoundError, match=r"t\.csv holds texts: .* model=text_encoder"):
        open_table("test", write(tmp_path / "t.csv", "text,label", "a,x"), tokenizer="resnet18")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            b"path,label,city\na.png,x,Bern\na.png,x,Z\xfcrich\n",
            ["line 3", "'Zürich' is not UTF-8 text", "as UTF-8"],
        ),
        (b'path,label,note\na.png,x,"a\n\nb"\na.png,x,\x80 5\n', ["line 5", "'€ 5' is not UTF-8 text"]),
        ("path,label\na.png,x\n".encode("utf-16"), ["is UTF-16 text; save it as UTF-8"]),
        ("path,label\na.png,x\n".encode("utf-16-le"), ["is UTF-16 text; save it as UTF-8"]),
        (
            b"path;label\na.png;x\n",
            ["separates its values by semicolons, not by commas; save it with commas"],
        ),
        (b'path;label;"size, in m"\na.png;x;1,5\n', ["by semicolons, not by commas"]),
        (b"path\tlabel\na.png\tx\n", ["by tabs, not by commas; save it with commas or name it .tsv"]),
        (b"", ["cannot be read as CSV: Empty CSV file"]),
    ],
)
def test_other_encodings_and_separators_are_named(tmp_path: Path, content: bytes, words: list[str]) -> None:
    image(tmp_path, "a.png")
    file = tmp_path / "my.csv"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(str(file))) as caught:
        open_table("test", file)
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_byte_order_mark_is_not_part_of_a_column_name(tmp_path: Path) -> None:
    image(tmp_path, "a.png")
    (tmp_path / "my.csv").write_bytes(b"\xef\xbb\xbfpath,label,split\na.png,x,test\n")
    assert open_table("test", tmp_path / "my.csv").examples["id"].to_pylist() == ["a.png"]


@pytest.mark.parametrize(
    "given",
    [
        "{root}/in/a.png",
        "in\\a.png",
        "in\\\\a.png",
        "file://{root}/in/a%20b.png",
        "{link}/in/a.png",
        "{root}/x/../in/a.png",
        " in/a.png ",
    ],
)
def test_paths_below_the_root_may_be_written_in_many_ways(tmp_path: Path, given: str) -> None:
    (tmp_path / "root" / "in").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "root")
    for name in ("in/a.png", "in/a b.png"):
        image(tmp_path / "root", name)
    path = given.format(root=tmp_path / "root", link=tmp_path / "link")
    file = write(tmp_path / "my.csv", "path,label,split", f"{path},x,test")
    test = open_table("test", file, root=tmp_path / "root")
    assert test.examples["id"].to_pylist() == ["in/a b.png" if "%20" in given else "in/a.png"]
    assert test[0]["input"].shape == (3, 224, 224)
    with pytest.raises(
        ValueError, match=r"line 2: /elsewhere/a\.png is not below .*; set dataset\.root to a folder above it"
    ):
        open_table("test", write(file, "path,label,split", "/elsewhere/a.png,x,test"), root=tmp_path / "root")


def columns(tmp_path: Path, *cells: str) -> pa.Table:
    """The attributes of a table whose column x holds these cells."""
    image(tmp_path, "a.png")
    for row in range(len(cells)):
        (tmp_path / f"{row}.png").symlink_to(tmp_path / "a.png")
    lines = [f"{row}.png,y,test,{cell}" for row, cell in enumerate(cells)]
    return open_table("test", write(tmp_path / "my.csv", "path, label,split , x", *lines)).examples


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", "n/a", "3"], [1, None, 3]),
        (["1.5", " 2 ", ""], [1.5, 2, None]),
        (["1", "2", "unknown"], [1, 2, None]),
        (["01067", "80331", "10115"], ["01067", "80331", "10115"]),
        ([" day ", "", "  "], ["day", None, None]),
        (["true", "False", "n/a"], [True, False, None]),
        (["2024-03-01", "n/a", "2024-03-02"], [date(2024, 3, 1), None, date(2024, 3, 2)]),
        (["0x1f", "1", "2"], ["0x1f", "1", "2"]),
        (["n/a", "day", "night"], ["n/a", "day", "night"]),
    ],
)
def test_the_type_of_a_column_fits_all_of_its_values(
    tmp_path: Path, cells: list[str], values: list[object]
) -> None:
    found = columns(tmp_path, *cells)
    assert found.column_names == ["id", "x"]
    assert found["x"].to_pylist() == values


def test_a_word_in_a_late_row_makes_the_column_text(tmp_path: Path) -> None:
    """Arrow guesses types from a file's first megabyte."""
    lines = [f"{row},{'word' if row == 299_999 else row % 7}" for row in range(300_000)]
    table_file = read_table_file(write(tmp_path / "my.csv", "n,x", *lines), [])
    assert table_file.table.schema.types == [pa.int64(), pa.string()]


@pytest.mark.slow
@pytest.mark.optional  # it measures time
def test_reading_time_is_linear_in_the_number_of_columns(tmp_path: Path) -> None:
    """Any work for each pair of columns would take minutes here."""
    n = 100_000
    file = write(tmp_path / "my.csv", ",".join(f"c{i}" for i in range(n)), ",".join(["1"] * n))
    start = process_time()
    assert len(read_table_file(file, []).table.column_names) == n
    assert process_time() - start < 60


def labelled(folder: Path, *labels: str) -> Path:
    for row in range(len(labels)):
        image(folder, f"{row}.png")
    return write(
        folder / "my.csv", "path,label,split", *(f"{r}.png,{label},test" for r, label in enumerate(labels))
    )


def test_numeric_classes_are_sorted_by_value(tmp_path: Path) -> None:
    test = open_table("test", labelled(tmp_path, *(f"{value}.0" for value in range(12))))
    assert test.task == Classification(tuple(f"{value}.0" for value in range(12)))
    assert test.targets.tolist() == list(range(12))
    given = open_table("test", tmp_path / "my.csv", classes=[f"c{value}" for value in range(12)])
    assert given.targets.tolist() == list(range(12))


def test_an_ordered_categorical_keeps_its_order(tmp_path: Path) -> None:
    labelled(tmp_path, "x", "x")
    sizes = pa.DictionaryArray.from_arrays(
        pa.array([1, 0]), pa.array(["small", "large", "huge"]), ordered=True
    )
    pa.parquet.write_table(
        pa.table({"path": ["0.png", "1.png"], "label": sizes, "split": ["test"] * 2}), tmp_path / "my.parquet"
    )
    test = open_table("test", tmp_path / "my.parquet")
    assert test.task.classes == ("small", "large", "huge")
    assert test.targets.tolist() == [1, 0]


def test_a_row_may_have_several_labels(tmp_path: Path) -> None:
    file = labelled(tmp_path, "cat|dog", "dog", "", " emu | cat ")
    test = open_table("test", file, separator="|")
    assert test.task == Multilabel(("cat", "dog", "emu"))
    assert test.targets.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1]]
    assert test[0]["target"].tolist() == [1, 1, 0]
    given = open_table("test", file, separator="|", classes=["emu", "dog", "cat", "ant"])
    assert given.targets.tolist() == [[0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 1, 0]]
    with pytest.raises(ValueError, match=r"my\.csv, line 5 is of class 'emu', not one of: cat, dog"):
        open_table("test", file, separator="|", classes=["cat", "dog"])
    with pytest.raises(ValueError, match=r"leave out dataset\.task"):
        open_table("test", file, separator="|", task="classification")


def test_fractional_labels_make_a_regression(tmp_path: Path) -> None:
    file = labelled(tmp_path, "1.5", "2", "-3e1")
    test = open_table("test", file)
    assert test.task == Regression()
    assert test.targets.tolist() == [1.5, 2, -30]
    assert test[2]["target"].item() == -30
    assert open_table("test", file, task="classification").task.classes == ("-3e1", "1.5", "2")
    whole = labelled(tmp_path, "20", "30", "31")
    assert open_table("test", whole).task == Classification(("20", "30", "31"))
    assert open_table("test", whole, task="regression").targets.tolist() == [20, 30, 31]


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (["1.5", "n/a"], {}, r"my\.csv, line 3: label is 'n/a', not a number"),
        (["1.5", "1e999"], {}, r"line 3: label is '1e999', not a number"),
        (["cat"], {"task": "regression"}, r"line 2: label is 'cat', not a number"),
        (["1.5"], {"task": "regression", "classes": ["a"]}, r"leave out dataset\.classes"),
        (["1.5"], {"task": "regresion"}, r"choose classification or regression"),
        ([""], {"separator": "|"}, r"no row has a label in 'label'"),
    ],
)
def test_invalid_labels_are_refused(
    tmp_path: Path, labels: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        open_table("test", labelled(tmp_path, *labels), **options)


def test_line_numbers_are_those_an_editor_shows(tmp_path: Path) -> None:
    lines = ["a,b", "1,2", "", '3,"x', "", 'y"', "5,6"]
    table_file = read_table_file(write(tmp_path / "my.csv", *lines), ["b"])
    assert table_file.required_texts("b") == ["2", "x\n\ny", "6"]
    assert [table_file.location(row).rpartition(", ")[2] for row in range(3)] == [
        "line 2",
        "line 4",
        "line 7",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dataset.label=age"], ("regression", "rmse")),
        (["dataset.label=tags", "dataset.separator='|'"], ("multilabel", "f1")),
    ],
)
def test_one_command_trains_on_real_numbers_and_on_several_labels(
    tmp_path: Path, words: list[str], said: tuple[str, str]
) -> None:
    lines = ["path,age,tags"]
    for row in range(60):
        Image.new("RGB", (12, 12), (4 * row, 20, 20)).save(tmp_path / f"{row}.png")
        lines.append(f"{row}.png,{row / 8},{'young' if row < 30 else 'old|tall'}")
    write(tmp_path / "my.csv", *lines)
    shell = Shell(tmp_path)
    line = [
        "dataset=csv",
        "dataset.file=my.csv",
        *words,
        "model=small_cnn",
        "dataset.size=12",
        "num_workers=0",
    ]
    quick = ["training.epochs=1", "trainer=cpu", "logger=none"]
    shell("discover", *line, *quick)
    assert len(shell.reports()) == 1
    text = shell("infer", *line, *quick)
    assert f" {said[0]}, attributes" in text
    assert f"{said[1]} " in text


@pytest.mark.slow
def test_one_command_audits_texts(tmp_path: Path) -> None:
    rows = {"sentence": TEXTS, "verdict": ["good", "bad"] * 60, "stars": np.arange(120) % 5}
    pa.csv.write_csv(pa.table(rows), tmp_path / "my.csv")
    write_model(tmp_path / "tiny", TEXTS, num_labels=2)
    words = [
        "dataset=csv",
        f"dataset.file={tmp_path}/my.csv",
        "dataset.text=sentence",
        "dataset.label=verdict",
    ]
    small = ["model=text_classifier", f"model.name={tmp_path}/tiny", "training.epochs=1", "num_workers=0"]
    Shell(tmp_path)("discover", *words, *small, "trainer=cpu", "logger=none")
    (folder,) = (tmp_path / "outputs" / "predictions").glob("csv-*")
    p = Predictions.load(folder)
    assert p.classes() == ("bad", "good")
    assert p.attributes.column_names == ["stars"]
    (page,) = tmp_path.glob("outputs/discover/*/*/report.html")
    assert "times over" in page.read_text()


def test_the_layout_for_tests_has_values_with_line_breaks(tmp_path: Path) -> None:
    layout.write(tmp_path, n=30)
    found = [open_table(split, tmp_path / "mine" / "about.csv") for split in SPLITS]
    assert sum(map(len, found)) == 30
    assert any("\n" in (remark or "") for d in found for remark in d.examples["remark"].to_pylist())
