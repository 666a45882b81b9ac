"""CSV files of labels that come with images, read as text; errors name file and line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int

from weakspot.predictions.csv_files import read_csv

FIRST_LINE = 2
"""The line of a table's row 0: the header is line 1."""


def read_label_file(file: Path, columns: Sequence[str], advice: str) -> pa.Table:
    """Read some columns of a CSV file as strings.

    Args:
        file: The file.
        columns: The names of the columns.
        advice: What to do about a missing file or column.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not CSV of UTF-8 text, has no rows or lacks a column.
    """
    try:
        table = read_csv(file, texts=columns)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no {file}: {advice}") from error
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        have = ", ".join(table.column_names)
        raise ValueError(f"{file} has no column {missing[0]!r}; it has: {have}; {advice}")
    return table.select(list(columns)).combine_chunks()


def encode_column(table: pa.Table, column: str, values: Sequence[str], file: Path) -> Int[np.ndarray, " n"]:
    """Return the index of each row's value among `values`; raise ValueError, naming the line, for any other value."""
    matched = pc.index_in(table[column], pa.array(list(values)))
    unknown = pc.is_null(matched).to_numpy()
    if unknown.any():
        row = int(np.flatnonzero(unknown)[0])
        known = ", ".join(values if len(values) <= 10 else [*values[:9], "…", values[-1]])
        raise ValueError(
            f"{file}, line {row + FIRST_LINE}: {column} is {table[column][row].as_py()!r}, not one of: {known}"
        )
    indices: np.ndarray = matched.to_numpy().astype(np.int64)
    return indices


def check_unique(table: pa.Table, column: str, file: Path, first_line: int = FIRST_LINE) -> None:
    """Raise ValueError, naming file and both lines, if a value occurs in two rows, whatever their splits."""
    first: dict[str, int] = {}
    for line, value in enumerate(table[column].to_pylist(), start=first_line):
        if first.setdefault(value, line) != line:
            raise ValueError(
                f"{file}, line {line}: {value} is in line {first[value]} already; remove one of the two"
            )
