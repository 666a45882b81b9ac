"""A reader for users' CSV files: it infers the type of every column, and its errors name the line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from weakspot.delimited import DELIMITER_NAMES, DELIMITERS, is_utf8, location, read_delimited, records
from weakspot.predictions.plain_columns import first_repeated, plain_table
from weakspot.predictions.reading import DamagedError, reading

_BYTE_ORDER_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


def read_csv(file: Path, texts: Sequence[str] = (), untrimmed: str | None = None) -> pa.Table:
    """Return all columns of a .csv or .tsv file, each as the type that all of its values have.

    The types are numbers, dates, times, truth values and texts.

    Args:
        file: The file; its suffix determines the delimiter.
        texts: Columns that stay texts whatever they look like; their values are trimmed, and empty ones are "".
        untrimmed: A column of texts that is not even trimmed, because a model reads it.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedError: The file is not UTF-8, has another delimiter, no rows, a row of another length, two columns with
            the same name, or a value that is not text; the error names the file and the line.
    """
    with reading(file):
        return _columns(file, texts, untrimmed)


def _columns(file: Path, texts: Sequence[str], untrimmed: str | None) -> pa.Table:
    delimiter = DELIMITERS[file.suffix.lower()]
    _check_beginning(file, delimiter)
    header = next(records(file, delimiter), (0, []))[1]
    if not all(map(is_utf8, header)):
        raise DamagedError(f"{file}, line 1: column names are not UTF-8 text; save the file as UTF-8")
    try:
        raw = read_delimited(file, dict.fromkeys(header, pa.string()), delimiter, header=True)
    except ValueError as error:
        raise DamagedError(str(error)) from error
    names = [name.strip() for name in raw.column_names]
    if (twice := first_repeated(names)) is not None:
        raise DamagedError(f"{file} has two columns {twice!r}; rename one of them")
    if len(raw) == 0:
        raise DamagedError(f"{file} has no rows")
    raw = raw.rename_columns(names).combine_chunks()
    kept = {name: _trimmed(raw[name]) for name in names if name in texts} | (
        {untrimmed: raw[untrimmed]} if untrimmed in names else {}
    )
    typed, _ = plain_table(raw.drop_columns(list(kept)), infer_types=True)
    columns = dict(zip(typed.column_names, typed.columns, strict=True)) | kept
    return pa.table([columns[name] for name in names], names=names)


def row_location(file: Path, row: int) -> str:
    """Return `my.csv, line 7` for a row, counted from 0: values may hold line breaks, and empty lines are not rows."""
    return location(file, DELIMITERS[file.suffix.lower()], row + 1)


def _check_beginning(file: Path, delimiter: str) -> None:
    """Raise DamagedError if the file is not UTF-8, or has another delimiter than its suffix implies."""
    with file.open("rb") as stream:
        start = stream.read(65_536)
    encoding = _BYTE_ORDER_MARKS.get(start[:2]) or ("UTF-16" if b"\0" in start[:4] else None)
    if encoding is not None:
        raise DamagedError(f"{file} is {encoding} text; save it as UTF-8 (“CSV UTF-8” in a spreadsheet)")
    header = re.sub(rb'"[^"]*"', b"", start.splitlines()[0] if start else b"").decode("utf-8", "replace")
    common = max(DELIMITER_NAMES, key=header.count)
    if header.count(common) > header.count(delimiter):
        other = next((f" or name it {ending}" for ending, sign in DELIMITERS.items() if sign == common), "")
        raise DamagedError(
            f"{file} separates its values by {DELIMITER_NAMES[common]}, not by {DELIMITER_NAMES[delimiter]}; save it "
            f"with {DELIMITER_NAMES[delimiter]}{other}"
        )


def _trimmed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.utf8_trim_whitespace(column)
