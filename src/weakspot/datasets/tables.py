"""Tables of examples as people write them: CSV, TSV or Parquet, and where in the file each row stands."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from jaxtyping import Int

from weakspot.datasets.picture_files import EXTENSIONS

_DELIMITERS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True, eq=False)
class Sheet:
    """A file's rows, and words for where one of them stands."""

    file: Path
    table: pa.Table

    def place(self, row: int) -> str:
        """`my.csv, line 7` for errors; in Parquet, which has no lines, a row's number from 1 on."""
        delimiter = _DELIMITERS.get(self.file.suffix.lower())
        if delimiter is None:
            return f"{self.file}, row {row + 1}"
        return f"{self.file}, {_line(self.file, delimiter, row + 1)}"

    def has(self, column: str | None) -> bool:
        return column in self.table.column_names

    def words(self, column: str, allowed: Sequence[str] | None = None) -> list[str]:
        """A column of texts, none of them empty; ValueError names the line of one that is, or is not allowed."""
        values: list[str] = self.table[column].to_pylist()
        for row, value in enumerate(values):
            if not value or (allowed and value not in allowed):
                raise ValueError(
                    f"{self.place(row)}: {column} is {value!r}"
                    + (f", not one of: {', '.join(allowed)}" if allowed else "; give one, or remove the row")
                )
        return values

    def unique(self, column: str) -> list[str]:
        """As `words`, and no two of them the same."""
        values = self.words(column)
        self.check_unique(column, values)
        return values

    def check_unique(self, column: str, values: Sequence[str]) -> None:
        first: dict[str, int] = {}
        for row, value in enumerate(values):
            if first.setdefault(value, row) != row:
                given = self.table[column][row]
                raise ValueError(f"{self.place(row)}: {given} stands in {self.place(first[value])} already")

    def pictures(self, column: str, root: Path) -> list[str]:
        """Paths of pictures below `root`, made regular; each must be there, and stand in one row only."""
        paths = []
        for row, given in enumerate(self.words(column)):
            path = PurePosixPath(os.path.normpath(given).replace(os.sep, "/"))
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"{self.place(row)}: {given} is not below {root}; set dataset.root higher")
            if not (root / path).is_file():
                raise FileNotFoundError(f"{self.place(row)}: there is no file {root / path}")
            if path.suffix.lower() not in EXTENSIONS:
                raise ValueError(f"{self.place(row)}: {given} is none of {', '.join(EXTENSIONS)}")
            paths.append(str(path))
        self.check_unique(column, paths)
        return paths


def read_sheet(file: Path, texts: Sequence[str]) -> Sheet:
    """All columns; those named in `texts`, where they are there, as texts, whatever they look like.

    Raises ValueError, naming the file and, where there is one, the line, for what cannot be read.
    """
    kind = file.suffix.lower()
    if kind not in (*_DELIMITERS, ".parquet"):
        raise ValueError(f"{file} is no table: its name must end in .csv, .tsv or .parquet")
    table = _read_parquet(file, texts) if kind == ".parquet" else _read_csv(file, texts)
    try:
        names = table.column_names  # Arrow decodes them only now
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{file}, line 1: names of columns are no UTF-8 text; save the file as UTF-8"
        ) from error
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{file} has two columns {twice!r}; rename one of them")
    if len(table) == 0:
        raise ValueError(f"{file} has no rows")
    return Sheet(file, table)


def sorted_names(labels: Iterable[str]) -> tuple[str, ...]:
    """The labels there are; whole numbers by size, so that class indices stay what they are."""
    names = set(labels)
    if all(name.removeprefix("-").isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))  # 1 and 01 are two classes
    return tuple(sorted(names))


def number_classes(
    labels: Sequence[str], names: Sequence[str], place: Callable[[int], str]
) -> Int[np.ndarray, " n"]:
    """The index of each label among the classes; ValueError says by `place` which row has another label."""
    position = {name: index for index, name in enumerate(names)}
    unknown = next((row for row, label in enumerate(labels) if label not in position), None)
    if unknown is not None:
        raise ValueError(f"{place(unknown)} is of class {labels[unknown]!r}, not one of: {', '.join(names)}")
    return np.array([position[label] for label in labels], dtype=np.int64)


def _read_csv(file: Path, texts: Sequence[str]) -> pa.Table:
    delimiter = _DELIMITERS[file.suffix.lower()]
    try:
        return pa.csv.read_csv(
            file,
            pa.csv.ReadOptions(use_threads=False),  # without threads, errors name the row
            pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            pa.csv.ConvertOptions(column_types=dict.fromkeys(texts, pa.string())),
        )
    except pa.ArrowInvalid as error:
        said = str(error)
        numbered = re.search(r"Row #(\d+): ", said)
        where = f"{file}, {_line(file, delimiter, int(numbered[1]) - 1)}" if numbered else str(file)
        reason = said[numbered.end() :] if numbered else said
        raise ValueError(f"{where} cannot be read: {' '.join(reason.split())[:160]}") from error


def _read_parquet(file: Path, texts: Sequence[str]) -> pa.Table:
    try:
        table = pa.parquet.read_table(file, partitioning=None)
        for name in set(texts) & set(table.column_names):
            place = table.column_names.index(name)
            table = table.set_column(place, name, table[name].cast(pa.string()))
    except pa.ArrowException as error:
        raise ValueError(f"{file} cannot be read: {' '.join(str(error).split())[:160]}") from error
    return table


def _line(file: Path, delimiter: str, record: int) -> str:
    """Where the record after so many others begins: values may hold line breaks, and empty lines are none."""
    end = passed = 0
    try:
        with file.open(newline="", encoding="utf-8", errors="replace") as stream:
            reader = csv.reader(stream, delimiter=delimiter)
            for values in reader:
                if values and passed == record:
                    return f"line {end + 1}"
                passed += bool(values)
                end = reader.line_num
    except csv.Error:  # a value longer than this reader takes
        pass
    return f"row {record}"
