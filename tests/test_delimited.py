"""The one reader of delimited text: what it returns, and the line that it names in every format it is used for."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from weakspot.delimited import location, read_delimited

TEXT, INT = pa.string(), pa.int64()


def test_it_reads_what_csv_writes(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    rows = [["".join(draw.choice(list('ab ,"\n\té'), 6)) for _ in range(3)] for _ in range(200)]
    file = tmp_path / "a.csv"
    with file.open("w", newline="") as stream:
        csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([["x", "y", "z"], *rows])
    table = read_delimited(file, dict.fromkeys("xyz", TEXT), header=True)
    assert [list(row.values()) for row in table.to_pylist()] == rows
    assert read_delimited(file, dict.fromkeys("abc", TEXT), skip_lines=1).to_pydict() == {
        new: table[old].to_pylist() for old, new in zip("xyz", "abc", strict=True)
    }
    assert read_delimited(file, dict.fromkeys("abc", TEXT), first=7).num_rows == 7
    for number in (0, 1, 57, 200):  # the line that a record starts in is one after the line breaks before it
        before = [["x", "y", "z"], *rows][:number]
        breaks = sum(1 + "".join(row).count("\n") for row in before)
        assert location(file, ",", number) == f"{file}, line {breaks + 1}"


@pytest.mark.parametrize(
    ("text", "line", "reason", "settings"),
    [
        ("a,b\n1,2\n\n3\n", 4, "Expected 2 columns, got 1", {"header": True}),
        ('1,"2\n2"\n3\n', 3, "Expected 2 columns, got 1", {"types": {"a": TEXT, "b": TEXT}}),
        ("2\na b\n1 2\n3 x\n", 4, "invalid value 'x'", {"delimiter": " ", "skip_lines": 2, "quotes": False}),
        ("1\t2\n\n", 2, "invalid value ''", {"delimiter": "\t", "quotes": False, "blank_lines": False}),
        ("1,2\n3,\n", 2, "invalid value ''", {"first": 5}),
    ],
)
def test_an_error_names_the_line(
    text: str, line: int, reason: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "a.csv"
    file.write_text(text)
    with pytest.raises(ValueError) as caught:
        read_delimited(file, **{"types": {"a": INT, "b": INT}, "advice": "mend it", **settings})
    said = str(caught.value)
    assert said.startswith(f"{file}, line {line} cannot be read as CSV: ")
    assert reason in said
    assert said.endswith("; mend it")


def test_content_takes_the_place_of_the_file_and_encodings_are_read(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"1|caf\xe9\n")
    assert read_delimited(file, {"a": INT, "b": TEXT}, "|", encoding="latin-1")["b"].to_pylist() == ["café"]
    assert read_delimited(file, {"a": INT}, content=b"\xef\xbb\xbf7\n")["a"].to_pylist() == [7]
    with pytest.raises(
        ValueError, match=r"a\.txt, line 1: '1\|café' is not UTF-8 text .* save the file as UTF-8"
    ):
        read_delimited(file, {"a": TEXT})
