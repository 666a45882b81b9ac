"""CSV files that come with pictures: read as text, column by column, errors named by file and line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from jaxtyping import Int

FIRST_LINE = 2
"""The line of a table's row 0: the header is line 1."""


def read_table(file: Path, columns: Sequence[str], advice: str) -> pa.Table:
    """These columns of a CSV file, as strings, without the others.

    Raises FileNotFoundError, with `advice`, where it is missing; ValueError, naming file and line, where it is no
    CSV file of UTF-8 text, has no rows or lacks a column.
    """
    text = pa.csv.ConvertOptions(column_types={name: pa.string() for name in columns})
    try:
        reading = pa.csv.ReadOptions(use_threads=False)  # without threads, errors name the row
        table = pa.csv.read_csv(file, reading, convert_options=text)
        names = table.column_names
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no {file}: {advice}") from error
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        said = str(error)
        numbered = re.search(r"Row #(\d+): ", said)
        where = f"{file}, line {numbered[1]}" if numbered else str(file)
        reason = said[numbered.end() :] if numbered else said
        raise ValueError(f"{where} cannot be read as CSV: {' '.join(reason.split())[:160]}") from error
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{file}, line 1: names of columns are no UTF-8 text; save the file as UTF-8"
        ) from error
    missing = [name for name in columns if name not in names]
    if missing:
        raise ValueError(f"{file} has no column {missing[0]!r}; it has: {', '.join(names)}; {advice}")
    if len(table) == 0:
        raise ValueError(f"{file} has no rows; {advice}")
    return table.select(list(columns)).combine_chunks()


def codes(table: pa.Table, column: str, values: Sequence[str], file: Path) -> Int[np.ndarray, " n"]:
    """Where each row's value stands among `values`. ValueError, naming file and line, where it is none of them."""
    found = pc.index_in(table[column], pa.array(list(values)))
    unknown = pc.is_null(found).to_numpy()
    if unknown.any():
        row = int(np.flatnonzero(unknown)[0])
        known = ", ".join(values if len(values) <= 10 else [*values[:9], "…", values[-1]])
        raise ValueError(
            f"{file}, line {row + FIRST_LINE}: {column} is {table[column][row].as_py()!r}, not one of: {known}"
        )
    indices: np.ndarray = found.to_numpy().astype(np.int64)
    return indices


def check_unique(table: pa.Table, column: str, file: Path, first_line: int = FIRST_LINE) -> None:
    """Raise ValueError, naming file and both lines, where a value stands in two rows, whatever their splits."""
    first: dict[str, int] = {}
    for line, value in enumerate(table[column].to_pylist(), start=first_line):
        if first.setdefault(value, line) != line:
            raise ValueError(
                f"{file}, line {line}: {value} stands in line {first[value]} already; remove one of the two"
            )
