"""JSON Lines as predictions and as tables: equal to the same columns in Parquet, or refused with file and line."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from weakspot.datasets.csv import open_table
from weakspot.pipeline.file_previews import FilePreviews
from weakspot.predictions import Predictions
from weakspot.predictions.json_lines import read_json_lines
from weakspot.predictions.reading import DamagedError
from weakspot.predictions.score_columns import losses_of_scores

VALUES = (None, True, 0, -(2**63), 2**63 - 1, 2**80, 0.5, "", "n/a", "2020-01-01", "\u2028 é 😀")


def write(folder: Path, *lines: Any, name: str = "p.jsonl") -> Path:
    file = folder / name
    file.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return file


def example(**values: Any) -> dict[str, Any]:
    return {"embedding": [1, 0.5], "score": 1, **values}


@pytest.mark.parametrize("seed", range(20))
def test_lines_are_read_as_they_were_written(seed: int, tmp_path: Path) -> None:
    pick = random.Random(seed)
    rows = [{name: pick.choice(VALUES) for name in "abc" if pick.random() < 0.7} for _ in range(seed % 5 + 1)]
    table = read_json_lines(write(tmp_path, *rows))
    assert table.num_rows == len(rows)
    for name in table.column_names:
        wanted = [row.get(name) for row in rows]
        read = table[name].to_pylist()
        as_texts = [v if v is None or isinstance(v, str) else json.dumps(v) for v in wanted]
        assert read in (wanted, as_texts)


def test_predictions_equal_those_of_the_same_parquet_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        {
            "id": f"e{row}",
            "embedding": rng.normal(size=3).tolist() if row else [1, 2, 3],
            "loss": float(rng.exponential()),
            "label": ["cat", "dog"][row % 2],
            "prediction": "cat",
            "age": None if row == 4 else row,
            "about": {"light": "day"},
        }
        for row in range(12)
    ]
    lines = Predictions.load(write(tmp_path, *rows, "\n"))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "q.parquet")
    table = Predictions.load(tmp_path / "q.parquet")
    for name in ("ids", "embeddings", "losses", "labels", "predictions", "correct"):
        np.testing.assert_array_equal(getattr(lines, name), getattr(table, name), err_msg=name)
    assert lines.attributes.to_pydict() == table.attributes.to_pydict()
    # and with the arrays in a file of their own
    save_file({"embeddings": lines.embeddings}, tmp_path / "r.safetensors")
    rest = [{name: value for name, value in row.items() if name != "embedding"} for row in rows]
    write(tmp_path, *rest, name="r.jsonl")
    for file in ("r.jsonl", "r.safetensors"):
        np.testing.assert_array_equal(Predictions.load(tmp_path / file).embeddings, lines.embeddings)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 3 cannot be read as JSON: .*; write one object on each line"),
        ("[1, 2]\n", "line 3 holds list, not a JSON object"),
        (
            '{"embedding": [1, 2], "embedding": [1, 2]}\n',
            "line 3 cannot be read as JSON: there are two 'embedding'",
        ),
        ("[" * 100_000, "line 3 cannot be read as JSON: it is nested too deeply"),
        ('{"a": ' + "[" * 200 + "]" * 200 + "}\n", "line 3 cannot be read as JSON: it is nested too deeply"),
        ({"embedding": [1, 2]}, "line 3 has no 'score', but others do"),
        (example(embedding=[1, 2, 3]), "line 3: 'embedding' has 3 numbers, but 2 in line 1"),
        (example(embedding=4), "line 3: 'embedding' has no list of numbers, but 2 in line 1"),
        (example(name="\ud800"), "line 3: 'name' holds a lone surrogate"),
        (example(score=7), "'score' is 7 in row 1, outside its scale from 0 .worst. to 1 .best."),
        (example(score="good"), "'score' is a number on a scale, not a text"),
    ],
)
def test_a_bad_line_is_named(line: Any, said: str, tmp_path: Path) -> None:
    file = write(tmp_path, example(), "\n", line)
    with pytest.raises(ValueError, match=re.escape(str(file)) + "(, |: )" + said):
        Predictions.load(file)


def test_a_first_line_without_the_list_that_others_have_is_named(tmp_path: Path) -> None:
    file = write(tmp_path, example(embedding=4), example(embedding=[1, 2, 3]))
    said = "line 2: 'embedding' has 3 numbers, but no list of numbers in line 1$"
    with pytest.raises(DamagedError, match=said):
        read_json_lines(file, complete=("embedding",))


def test_other_encodings_and_empty_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"a": 1}\n{"a": "\xe9"}\n')
    with pytest.raises(DamagedError, match="line 2 is not UTF-8 text; save the file as UTF-8"):
        read_json_lines(file)
    file.write_text("\n\n")
    with pytest.raises(DamagedError, match="has no rows"):
        read_json_lines(file)
    file.write_text("".join(f'{{"{row}":0}}\n' for row in range(4000)))
    with pytest.raises(DamagedError, match="the lines have hardly any names in common"):
        read_json_lines(file)


def test_a_repeated_key_among_very_many_is_found_quickly(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"  # comparing all pairs would take minutes
    file.write_text("{" + "".join(f'"{name}":0,' for name in range(200_000)) + '"199999":0}\n')
    with pytest.raises(DamagedError, match="there are two '199999'"):
        read_json_lines(file)


# --- scores


def test_a_score_gives_losses_and_correctness(tmp_path: Path) -> None:
    p = Predictions.load(write(tmp_path, *(example(score=s, kind="x") for s in (0, 0.25, 0.5, True))))
    np.testing.assert_array_equal(p.losses, [1, 0.75, 0.5, 0])
    np.testing.assert_array_equal(p.correct, [False, False, True, True])
    assert p.attributes.column_names == ["kind"]


def test_every_line_may_have_its_own_scale_even_a_reversed_one(tmp_path: Path) -> None:
    scales = [(1, 1, 5), (4, 1, 5), (2, 10, 0)]
    rows = [example(score=s, score_worst=w, score_best=b) for s, w, b in scales]
    p = Predictions.load(write(tmp_path, *rows))
    np.testing.assert_allclose(p.losses, [1, 0.25, 0.2])
    np.testing.assert_array_equal(p.correct, [False, True, True])
    assert p.attributes.column_names == []
    with pytest.raises(ValueError, match=r"'score' is 1 in row 0, outside its scale from 1 .* to 1 "):
        Predictions.load(write(tmp_path, example(score_worst=1, score_best=1)))


@pytest.mark.parametrize(("worst", "best"), [(0, np.inf), (-np.inf, 1), (0, -np.inf), (-1e308, 1e308)])
def test_a_scale_without_an_end_is_refused(worst: float, best: float) -> None:
    with pytest.raises(ValueError, match="'score' is 0 in row 0, outside its scale from"):
        losses_of_scores([0.0, 0.5], worst, best)


def test_given_correctness_is_kept(tmp_path: Path) -> None:
    p = Predictions.load(write(tmp_path, example(score=0.9, correct=False), example(score=0.1, correct=True)))
    np.testing.assert_array_equal(p.correct, [False, True])


@pytest.mark.parametrize(
    "given", [{"loss": 0.5}, {"label": 1, "prediction": 0}, {"logits": [2.0, 1.0], "label": 1}]
)
def test_a_score_is_an_attribute_if_losses_are_known_otherwise(given: dict[str, Any], tmp_path: Path) -> None:
    p = Predictions.load(write(tmp_path, *(example(score=s, **given) for s in (0.3, 7))))
    assert p.attributes["score"].to_pylist() == [0.3, 7]


# --- texts and tables


@pytest.mark.parametrize("name", ["text", "prompt"])
def test_texts_become_the_previews(name: str, tmp_path: Path) -> None:
    p = Predictions.load(write(tmp_path, example(**{name: "What is 2 + 2?"}), example()))
    previews = FilePreviews(p)
    assert previews.texts == ["What is 2 + 2?", ""]
    assert previews.preview(0) == "What is 2 + 2?"
    assert not FilePreviews(Predictions.from_arrays(np.eye(2), attributes={name: ["a", "b"]}))


def test_a_table_of_images_is_read_and_its_errors_name_the_line(tmp_path: Path) -> None:
    from PIL import Image

    rows = [{"path": f"{row}.png", "label": row % 2, "split": "test", "age": row} for row in range(4)]
    for row in rows:
        Image.new("RGB", (4, 4)).save(tmp_path / row["path"])
    data = open_table("test", write(tmp_path, *rows, name="t.jsonl"), size=4)
    assert data.task.classes == ("0", "1")
    assert data.examples["age"].to_pylist() == [0, 1, 2, 3]
    file = write(tmp_path, rows[0], "\n", {**rows[1], "path": "none.png"}, name="t.jsonl")
    with pytest.raises(FileNotFoundError, match=r"t\.jsonl, line 3: there is no file"):
        open_table("test", file)
