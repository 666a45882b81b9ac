"""Users' tables of examples (CSV, TSV, JSON Lines or Parquet); errors name the line of a row."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.compute as pc

from weakspot.delimited import DELIMITERS
from weakspot.image_formats import EXTENSIONS
from weakspot.predictions.attributes import suggest_names
from weakspot.predictions.csv_files import read_csv, row_location
from weakspot.predictions.json_lines import SUFFIX, line_location, read_json_lines
from weakspot.predictions.plain_columns import plain_table
from weakspot.predictions.reading import read_parquet, reading

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TableFile:
    """A file of examples: its rows, and where each row is in the file.

    Attributes:
        file: The file.
        table: Its rows.
        orders: The values of each ordered categorical column, in their order.
    """

    file: Path
    table: pa.Table
    orders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def location(self, row: int) -> str:
        """Return where a row is, for errors: `my.csv, line 7`, or for Parquet, its number from 1."""
        if self.file.suffix.lower() == SUFFIX:
            return line_location(self.file, row)
        if self.file.suffix.lower() not in DELIMITERS:
            return f"{self.file}, row {row + 1}"
        return row_location(self.file, row)

    def has_column(self, column: str | None) -> bool:
        return column in self.table.column_names

    def check_chosen(self, setting: str, column: str | None, default: str) -> None:
        """Raise ValueError if a chosen column is missing; the default column may be missing."""
        if column is not None and column != default and not self.has_column(column):
            instead = suggest_names(column, self.table.column_names)
            raise ValueError(f"dataset.{setting}={column}: {self.file} has no such column{instead}")

    def required_texts(self, column: str, allowed: Sequence[str] | None = None) -> list[str]:
        """Return a column of texts; raise ValueError, naming the line, if one is empty or not among `allowed`."""
        values: list[str] = self.table[column].to_pylist()
        for row, value in enumerate(values):
            if not value or (allowed and value not in allowed):
                raise ValueError(
                    f"{self.location(row)}: {column} is {value!r}"
                    + (f", not one of: {', '.join(allowed)}" if allowed else "; give one, or remove the row")
                )
        return values

    def unique_texts(self, column: str) -> list[str]:
        """Return a column of texts as `required_texts` does; raise ValueError if two of them are equal."""
        values = self.required_texts(column)
        self.check_unique(column, values)
        return values

    def check_unique(self, column: str, values: Sequence[str]) -> None:
        first: dict[str, int] = {}
        for row, value in enumerate(values):
            if first.setdefault(value, row) != row:
                given = self.table[column][row]
                raise ValueError(f"{self.location(row)}: {given} is in {self.location(first[value])} already")

    def image_paths(self, column: str, root: Path) -> list[str]:
        """Return a column of image paths as paths relative to `root`.

        They may be given relative to `root` or absolute, as `file://` addresses, or with the separators of Windows.

        Raises:
            ValueError: If a path lies outside `root`, is in two rows, or has no image extension.
            FileNotFoundError: If there is no such file.
        """
        paths = []
        for row, given in enumerate(self.required_texts(column)):
            path = path_below(given, root)
            if path is None:
                raise ValueError(
                    f"{self.location(row)}: {given} is not below {root}; set dataset.root to a folder above it"
                )
            if not (root / path).is_file():
                raise FileNotFoundError(f"{self.location(row)}: there is no file {root / path}")
            if path.suffix.lower() not in EXTENSIONS:
                raise ValueError(
                    f"{self.location(row)}: {given} does not end in one of {', '.join(EXTENSIONS)}"
                )
            paths.append(str(path))
        self.check_unique(column, paths)
        return paths


def path_below(given: str, root: Path) -> PurePosixPath | None:
    """Return a path relative to `root`, given in any notation, or None if it leads elsewhere."""
    text = unquote(urlsplit(given).path) if given.startswith("file://") else given
    if "\\" in text and not (root / text).is_file():
        text = text.replace("\\", "/")
    if os.path.isabs(text):
        ends = (
            (Path(os.path.normpath(text)), Path(os.path.abspath(root))),
            (Path(text).resolve(), root.resolve()),
        )
        below = next((path.relative_to(top) for path, top in ends if path.is_relative_to(top)), None)
        return None if below is None else PurePosixPath(below.as_posix())
    path = PurePosixPath(os.path.normpath(text).replace(os.sep, "/"))
    return None if path.is_absolute() or ".." in path.parts else path


def read_table_file(file: Path, texts: Sequence[str], untrimmed: str | None = None) -> TableFile:
    """Read a table and convert its columns to plain types; one that cannot be converted is left out with a warning.

    Args:
        file: A file whose name ends in .csv, .tsv, .jsonl or .parquet.
        texts: Columns that are read as texts, whatever their values look like.
        untrimmed: A column of texts whose surrounding blanks are kept, because a model reads them.

    Raises:
        ValueError: If the file cannot be read; the message names the line if there is one.
    """
    kind = file.suffix.lower()
    if kind not in (*DELIMITERS, SUFFIX, ".parquet"):
        raise ValueError(f"{file} is not a table: its name must end in .csv, .tsv, .jsonl or .parquet")
    if kind in DELIMITERS:
        return TableFile(file, read_csv(file, texts, untrimmed))
    raw = read_json_lines(file) if kind == SUFFIX else read_parquet(file)
    table_file = _with_plain_columns(file, raw, texts, untrimmed)
    if len(table_file.table) == 0:
        raise ValueError(f"{file} has no rows")
    return table_file


def _with_plain_columns(file: Path, raw: pa.Table, texts: Sequence[str], untrimmed: str | None) -> TableFile:
    with reading(file):
        taken = [name for name in raw.column_names if name in texts or name == untrimmed]
        attributes, left_out = plain_table(raw.drop_columns(taken))
        columns = {name: raw[name].cast(pa.string()) for name in taken}
    for name, reason in left_out.items():
        log.warning("%s: column %r is left out: %s", file, name, reason)
    trimmed = {name: c if name == untrimmed else pc.utf8_trim_whitespace(c) for name, c in columns.items()}
    orders = {
        name: tuple(map(str, raw[name].unify_dictionaries().chunk(0).dictionary.to_pylist()))
        for name in taken
        if pa.types.is_dictionary(raw[name].type) and raw[name].type.ordered and len(raw)
    }
    names = [*taken, *attributes.column_names]
    return TableFile(file, pa.table([*trimmed.values(), *attributes.columns], names=names), orders)
