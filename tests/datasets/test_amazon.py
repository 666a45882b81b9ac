"""Amazon Polarity: every published format gives the same reviews, and malformed files are named."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from layouts import amazon as layout
from tiny_models import write_tokenizer
from weakspot.datasets.amazon import AmazonPolarity

ROWS = [
    ("2", 'The "best" one', "Never mind the price!\\nIt's great, isn't it? Yes!"),
    ("1", "", 'Not for me, "really"'),
    ("2", "Fine", "Naïve, but fine"),
    ("1", "Bad", "bad bad bad"),
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder, [text for row in [*ROWS, *layout.reviews(50, 1)] for text in row[1:]])
    return folder


def write_csv(root: Path, rows: list[tuple[str, ...]] = ROWS) -> Path:
    root.mkdir(exist_ok=True)
    for half in ("train", "test"):
        with open(root / f"{half}.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return root


def table(rows: list[tuple[str, ...]]) -> pa.Table:
    labels, titles, contents = zip(*rows, strict=True)
    return pa.table({"label": [int(label) - 1 for label in labels], "title": titles, "content": contents})


def write_parquet(root: Path) -> Path:
    """The hub's shards, with an extra column, which is ignored."""
    for half in ("train", "test"):
        (root / "amazon_polarity").mkdir(parents=True, exist_ok=True)
        for shard in (0, 1):
            name = root / "amazon_polarity" / f"{half}-{shard:05d}-of-00002.parquet"
            pq.write_table(table(ROWS[2 * shard :][:2]).append_column("x", [[1, 2]]), name)
    return root


def write_saved(root: Path) -> Path:
    """What `DatasetDict.save_to_disk` writes."""
    root.mkdir()
    (root / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    for half in ("train", "test"):
        (root / half).mkdir()
        names = [f"data-{shard:05d}-of-00002.arrow" for shard in (0, 1)]
        for shard, name in enumerate(names):
            part = table(ROWS[2 * shard :][:2])
            with (
                pa.OSFile(str(root / half / name), "wb") as file,
                pa.ipc.new_stream(file, part.schema) as out,
            ):
                out.write_table(part)
        state = {"_data_files": [{"filename": name} for name in names], "_split": half}
        (root / half / "state.json").write_text(json.dumps(state))
    return root


def test_examples_and_attributes_of_a_csv_file(tmp_path: Path, tokenizer: Path) -> None:
    found = AmazonPolarity("test", write_csv(tmp_path), tokenizer=tokenizer)
    assert found.task.classes == ("negative", "positive")
    assert found.targets.tolist() == [1, 0, 1, 0]
    assert found.preview(0) == "Never mind the price!\nIt's great, isn't it? Yes!"
    assert found.preview(1) == 'Not for me, "really"'
    assert found.examples.to_pydict() == {
        "id": [f"test-{row:07d}" for row in range(4)],
        "words": [9, 4, 3, 3],
        "titled": ["yes", "no", "yes", "yes"],
        "negation": ["yes", "yes", "no", "no"],
        "exclamations": [2, 0, 0, 0],
        "questions": [1, 0, 0, 0],
    }
    tokens = found.tokenizer.convert_ids_to_tokens(found.input(3)["input_ids"].tolist())
    assert tokens == ["[CLS]", "bad", "bad", "bad", "[SEP]"]


def test_the_title_may_be_put_before_the_review(tmp_path: Path, tokenizer: Path) -> None:
    found = AmazonPolarity("test", write_csv(tmp_path), title=True, tokenizer=tokenizer)
    assert found.preview(3) == "Bad. bad bad bad"


@pytest.mark.parametrize("write", [write_parquet, write_saved])
def test_every_format_gives_the_same_examples(write: object, tmp_path: Path, tokenizer: Path) -> None:
    assert callable(write)
    published = AmazonPolarity("test", write_csv(tmp_path / "csv"), tokenizer=tokenizer)
    other = AmazonPolarity("test", write(tmp_path / "other"), tokenizer=tokenizer)
    assert other.fingerprint() == published.fingerprint()
    first = AmazonPolarity("test", tmp_path / "other", first=3, tokenizer=tokenizer)
    assert list(first.texts) == list(published.texts)[:3]


def test_the_first_rows_are_for_training_and_the_next_for_validation(tmp_path: Path, tokenizer: Path) -> None:
    (tmp_path / "amazon_review_polarity_csv").mkdir()
    rows = layout.reviews(50, 1)
    write_csv(tmp_path / "amazon_review_polarity_csv", rows)
    train, val, test = (
        AmazonPolarity(split, tmp_path, first=30, tokenizer=tokenizer) for split in ("train", "val", "test")
    )
    expected = np.array([int(label) - 1 for label, *_ in rows])
    assert train.targets.tolist() == expected[:30].tolist() == test.targets.tolist()
    assert val.targets.tolist() == expected[30:33].tolist()
    assert val.examples["id"].to_pylist() == ["train-0000030", "train-0000031", "train-0000032"]
    with pytest.raises(ValueError, match="no rows after the first 50"):
        AmazonPolarity("val", tmp_path, first=50, tokenizer=tokenizer)


def test_only_the_first_rows_asked_for_are_read(tmp_path: Path, tokenizer: Path) -> None:
    write_csv(tmp_path, layout.reviews(30_000, 0))
    with open(tmp_path / "test.csv", "a") as file:
        file.write("this is no row\n")
    assert len(AmazonPolarity("test", tmp_path, first=20, tokenizer=tokenizer)) == 20
    with pytest.raises(ValueError, match=r"test\.csv, line 30001 cannot"):
        AmazonPolarity("test", tmp_path, first=40_000, tokenizer=tokenizer)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            '"2","only a title"',
            r"test\.csv, line 5 cannot be read as CSV: Expected 3 columns, got 2: .*amazon\.md",
        ),
        ('"3","three stars","so so"', r"test\.csv, line 5: the label is '3', not 1 or 2"),
        ('"label","title","content"', r"test\.csv, line 5: the label is 'label'"),
    ],
)
def test_a_bad_row_is_named(line: str, said: str, tmp_path: Path, tokenizer: Path) -> None:
    write_csv(tmp_path)
    with open(tmp_path / "test.csv", "a") as file:
        file.write(f"{line}\n")
    with pytest.raises(ValueError, match=said):
        AmazonPolarity("test", tmp_path, tokenizer=tokenizer)


def test_a_damaged_file_is_named(tmp_path: Path, tokenizer: Path) -> None:
    shard = write_parquet(tmp_path / "a") / "amazon_polarity" / "test-00001-of-00002.parquet"
    shard.write_bytes(shard.read_bytes()[:200])
    with pytest.raises(ValueError, match=re.escape(str(shard))):
        AmazonPolarity("test", tmp_path / "a", tokenizer=tokenizer)
    pq.write_table(table(ROWS).drop_columns(["title"]), shard)
    with pytest.raises(ValueError, match=f"{re.escape(str(shard))} has no column 'title'"):
        AmazonPolarity("test", tmp_path / "a", tokenizer=tokenizer)
    arrow = write_saved(tmp_path / "b") / "test" / "data-00001-of-00002.arrow"
    arrow.write_bytes(b"no arrow")
    with pytest.raises(ValueError, match=re.escape(str(arrow))):
        AmazonPolarity("test", tmp_path / "b", tokenizer=tokenizer)
    arrow.unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(str(arrow))):
        AmazonPolarity("test", tmp_path / "b", tokenizer=tokenizer)
    pq.write_table(table([("7", "", "")]), shard)
    shard.with_name("test-00000-of-00002.parquet").unlink()
    with pytest.raises(ValueError, match="row 0 of test has the label 6, not 0 or 1"):
        AmazonPolarity("test", tmp_path / "a", tokenizer=tokenizer)


@pytest.mark.parametrize(("name", "values"), [("content", [1, 2]), ("title", [[b"x"], [b"y"]])])
def test_a_column_without_text_is_named(
    name: str, values: list[object], tmp_path: Path, tokenizer: Path
) -> None:
    bare = table(ROWS[:2]).drop_columns([name]).append_column(name, [values])
    pq.write_table(bare, tmp_path / "test-0.parquet")
    with pytest.raises(
        ValueError, match=f"{re.escape(str(tmp_path))}: the column '{name}' of test is .*not text"
    ):
        AmazonPolarity("test", tmp_path, tokenizer=tokenizer)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b'{"_data_files": []}', "lists no files"), (b"[]", "cannot be read"), (b'"\xff"', "cannot be read")],
)
def test_a_saved_split_that_lists_no_files_is_named(
    content: bytes, said: str, tmp_path: Path, tokenizer: Path
) -> None:
    state = write_saved(tmp_path / "a") / "test" / "state.json"
    state.write_bytes(content)
    with pytest.raises(ValueError, match=f"{re.escape(str(state))} {said}"):
        AmazonPolarity("test", tmp_path / "a", tokenizer=tokenizer)


def test_shards_of_other_types_are_named(tmp_path: Path, tokenizer: Path) -> None:
    shards = write_parquet(tmp_path) / "amazon_polarity"
    other = table(ROWS[2:]).drop_columns(["content"]).append_column("content", [[1, 2]])
    pq.write_table(other, shards / "test-00001-of-00002.parquet")
    with pytest.raises(ValueError, match=f"of {re.escape(str(shards))}/test-00001.* of other types than"):
        AmazonPolarity("test", tmp_path, tokenizer=tokenizer)


def test_missing_files_and_invalid_settings_are_refused(tmp_path: Path, tokenizer: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no test\.csv in .*amazon\.md"):
        AmazonPolarity("test", tmp_path, tokenizer=tokenizer)
    with pytest.raises(ValueError, match=r"dataset\.first must be at least 1"):
        AmazonPolarity("test", write_csv(tmp_path / "a"), first=0, tokenizer=tokenizer)
    (tmp_path / "t").mkdir()
    with pytest.raises(ValueError, match=f"{re.escape(str(tmp_path / 't'))} holds no tokenizer"):
        AmazonPolarity("test", tmp_path / "a", tokenizer=tmp_path / "t")
