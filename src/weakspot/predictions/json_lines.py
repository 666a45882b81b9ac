"""A reader for JSON Lines (.jsonl): one object per line, whose names are columns; its errors name the line."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from weakspot.predictions.plain_columns import first_repeated
from weakspot.predictions.reading import DamagedError, check_nesting, reading

SUFFIX = ".jsonl"

_CELLS = 10_000_000  # values that any file may have, missing ones included; a larger file, one per byte
_NESTED = 50  # brackets in a line; with more, their nesting is checked
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_json_lines(file: Path, complete: Collection[str] = ()) -> pa.Table:
    """Return the objects of a file as a table: names that an object lacks are null, and empty lines are skipped.

    Lists of numbers become columns of lists. Values of several types under one name become texts.

    Args:
        file: The file.
        complete: Names that every object must have if any has them; their lists must have the same length.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedError: A line is not a JSON object in UTF-8, or lacks a name of `complete`; the error names the file
            and the line.
    """
    with reading(file):
        size = file.stat().st_size
        lines: list[int] = []
        columns: dict[str, list[Any]] = {}
        for number, text in _filled_lines(file):
            for name, value in _object(file, number, text).items():
                column = columns.setdefault(name, [])
                column.extend([None] * (len(lines) - len(column)))
                column.append(_packed(value))
            lines.append(number)
            if len(lines) * len(columns) > max(_CELLS, size):
                raise DamagedError(f"{file}, line {number}: the lines have hardly any names in common")
        if not lines:
            raise DamagedError(f"{file} has no rows")
        for column in columns.values():
            column.extend([None] * (len(lines) - len(column)))
        for name in [name for name in columns if name in complete]:
            _check_complete(file, name, columns[name], lines)
        return pa.table({name: _column(file, name, column, lines) for name, column in columns.items()})


def line_location(file: Path, row: int) -> str:
    """Return `my.jsonl, line 7` for a row, counted from 0: empty lines are not rows."""
    number = next((number for number, _ in islice(_filled_lines(file), row, None)), None)
    return f"{file}, row {row + 1}" if number is None else f"{file}, line {number}"


def _filled_lines(file: Path) -> Iterator[tuple[int, bytes]]:
    with file.open("rb") as stream:
        for number, text in enumerate(stream, 1):
            if stripped := text.removeprefix(_BYTE_ORDER_MARK if number == 1 else b"").strip():
                yield number, stripped


def _object(file: Path, number: int, text: bytes) -> dict[str, Any]:
    try:
        values = json.loads(text.decode("utf-8"), object_pairs_hook=_without_repeats)
        if text.count(b"[") + text.count(b"{") > _NESTED:
            check_nesting(values)
    except UnicodeDecodeError as error:
        raise DamagedError(f"{file}, line {number} is not UTF-8 text; save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise DamagedError(
            f"{file}, line {number} cannot be read as JSON: {reason}; write one object on each line"
        ) from error
    if not isinstance(values, dict):
        raise DamagedError(
            f"{file}, line {number} holds {type(values).__name__}, not a JSON object; write one object on each line"
        )
    return values


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError(f"there are two {first_repeated([name for name, _ in pairs])!r}")
    return values


def _packed(value: Any) -> Any:
    """Return a list of numbers as an array, which takes a quarter of the memory; any other value as it is."""
    if type(value) is list and value and all(type(entry) in (int, float) for entry in value):
        array = np.asarray(value)
        return array if array.dtype.kind in "if" else value  # integers beyond 64 bits are objects
    return value


def _check_complete(file: Path, name: str, values: Sequence[Any], lines: Sequence[int]) -> None:
    first: int | None = None
    for number, value in zip(lines, values, strict=True):
        if value is None:
            raise DamagedError(
                f"{file}, line {number} has no {name!r}, but others do; add it or remove the line"
            )
        length = len(value) if isinstance(value, list | np.ndarray) else 0
        first = length if first is None else first
        if length != first:
            has = f"{length} numbers" if length else "no list of numbers"
            raise DamagedError(
                f"{file}, line {number}: {name!r} has {has}, but {first or 'no list of numbers'} in line {lines[0]}"
            )


def _column(file: Path, name: str, values: list[Any], lines: Sequence[int]) -> pa.Array:
    if any(isinstance(value, np.ndarray) and value.dtype.kind == "f" for value in values):
        values = [value.astype(float) if isinstance(value, np.ndarray) else value for value in values]
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeError):  # mixed types, or too large
        texts = [value if value is None or isinstance(value, str) else _as_text(value) for value in values]
    try:
        return pa.array(texts, pa.string())
    except UnicodeError as error:
        number = next(n for n, text in zip(lines, texts, strict=True) if text and not _is_text(text))
        raise DamagedError(
            f"{file}, line {number}: {name!r} holds a lone surrogate, which is not text"
        ) from error


def _as_text(value: Any) -> str:
    return json.dumps(value.tolist() if isinstance(value, np.ndarray) else value, ensure_ascii=False)


def _is_text(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
