"""Tables of examples as people write them: CSV, TSV or Parquet, and where in the file each row stands."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.compute as pc

from weakspot.images import EXTENSIONS
from weakspot.predictions.csv_files import DELIMITERS, place, read_csv
from weakspot.predictions.plain import plain_table
from weakspot.predictions.reading import read_parquet, reading

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TableFile:
    """A file's rows, and words for where one of them stands.

    orders   by column, the values of an ordered categorical in its order
    """

    file: Path
    table: pa.Table
    orders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def place(self, row: int) -> str:
        """`my.csv, line 7` for errors; in Parquet, which has no lines, a row's number from 1 on."""
        if self.file.suffix.lower() not in DELIMITERS:
            return f"{self.file}, row {row + 1}"
        return place(self.file, row)

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

    def images(self, column: str, root: Path) -> list[str]:
        """Paths of images relative to `root`, made regular; each must be there, and stand in one row only.

        They may be given relative to `root` or whole, as `file://` addresses, or with the separators of Windows.
        """
        paths = []
        for row, given in enumerate(self.words(column)):
            path = _below(given, root)
            if path is None:
                raise ValueError(f"{self.place(row)}: {given} is not below {root}; set dataset.root higher")
            if not (root / path).is_file():
                raise FileNotFoundError(f"{self.place(row)}: there is no file {root / path}")
            if path.suffix.lower() not in EXTENSIONS:
                raise ValueError(f"{self.place(row)}: {given} is none of {', '.join(EXTENSIONS)}")
            paths.append(str(path))
        self.check_unique(column, paths)
        return paths


def _below(given: str, root: Path) -> PurePosixPath | None:
    """The path relative to `root`; None where it leads elsewhere."""
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


def read_table_file(file: Path, texts: Sequence[str], verbatim: str | None = None) -> TableFile:
    """All columns in plain form; those named in `texts`, where they are there, as texts, whatever they look like.

    `verbatim` names a column of texts whose blanks stay, because a model reads them. Columns of bytes are left out,
    with a warning.

    Raises ValueError, naming the file and, where there is one, the line, for what cannot be read.
    """
    kind = file.suffix.lower()
    if kind not in (*DELIMITERS, ".parquet"):
        raise ValueError(f"{file} is no table: its name must end in .csv, .tsv or .parquet")
    if kind != ".parquet":
        return TableFile(file, read_csv(file, texts, verbatim))
    table_file = _read_parquet(file, texts, verbatim)
    if len(table_file.table) == 0:
        raise ValueError(f"{file} has no rows")
    return table_file


def _read_parquet(file: Path, texts: Sequence[str], verbatim: str | None) -> TableFile:
    raw = read_parquet(file)
    with reading(file):
        taken = [name for name in raw.column_names if name in texts or name == verbatim]
        attributes, left_out = plain_table(raw.drop_columns(taken))
        columns = {name: raw[name].cast(pa.string()) for name in taken}
    for name, reason in left_out.items():
        log.warning("%s: column %r is left out: %s", file, name, reason)
    trimmed = {name: c if name == verbatim else pc.utf8_trim_whitespace(c) for name, c in columns.items()}
    orders = {
        name: tuple(map(str, raw[name].unify_dictionaries().chunk(0).dictionary.to_pylist()))
        for name in taken
        if pa.types.is_dictionary(raw[name].type) and raw[name].type.ordered and len(raw)
    }
    names = [*taken, *attributes.column_names]
    return TableFile(file, pa.table([*trimmed.values(), *attributes.columns], names=names), orders)
