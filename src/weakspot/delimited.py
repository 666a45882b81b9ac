"""Delimited text (CSV, TSV and similar): the delimiters, a reader whose errors name the line, and a writer."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO, StringIO
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

DELIMITERS = {".csv": ",", ".tsv": "\t"}
"""The delimiter of a file, by its extension."""

DELIMITER_NAMES = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
"""The delimiters in common use, by which a file with the wrong extension is recognised."""

_LONGEST_REASON = 160  # characters: Arrow quotes the line

FORMULA_STARTS = "=+\\-@\t\r\n＝＋－＠"
"""The characters that a formula in a spreadsheet begins with, for the brackets of a regular expression."""

_FORMULA = re.compile(
    rf"(?![+-](\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z)[{FORMULA_STARTS}]"
)  # -0.5 and +1e5 are numbers


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as CSV that is safe to open in a spreadsheet: none of its texts becomes a formula."""
    text = StringIO()
    writer = csv.writer(text)
    for row in (header, *rows):
        writer.writerow([formula_free(value) if isinstance(value, str) else value for value in row])
    return text.getvalue()


def formula_free(text: str) -> str:
    """Return the text, with an apostrophe in front if a spreadsheet would run it as a formula.

    Ids and class names may come from anyone, and `=HYPERLINK(…)` among them could leak the cells beside it (OWASP,
    "CSV injection"). Numbers stay as they are.
    """
    return f"'{text}" if _FORMULA.match(text) else text


def read_delimited(
    file: Path,
    types: Mapping[str, pa.DataType],
    delimiter: str = ",",
    *,
    header: bool = False,
    skip_lines: int = 0,
    quotes: bool = True,
    blank_lines: bool = True,
    encoding: str = "utf-8",
    first: int | None = None,
    content: bytes | None = None,
    advice: str = "",
) -> pa.Table:
    """Read a delimited file whose columns have known types.

    Args:
        file: The file, which errors name.
        types: Each column's type, in the file's order; no value is read as missing.
        delimiter: What separates the values of a row.
        header: Whether the first line holds the column names; `types` are then matched by name.
        skip_lines: How many lines come before the first row (or the header).
        quotes: Whether values may be in double quotes, and may then contain delimiters and line breaks.
        blank_lines: Whether empty lines are skipped; otherwise each of them is a row.
        encoding: The encoding of the text.
        first: The most rows to read; no more of the file is parsed than necessary.
        content: The bytes to parse instead of the file's own, with the same rows on the same lines.
        advice: What to do about an error; its message ends with this.

    Returns:
        The rows, in one table.

    Raises:
        ValueError: If a row has the wrong length, a value the wrong type, or a text the wrong encoding; the message is
            `FILE, line N cannot be read as CSV: reason; advice`.
        OSError: If the system cannot read the file.
    """
    source = str(file) if content is None else BytesIO(content)
    options = (
        pa.csv.ReadOptions(  # one thread, with which Arrow reports which row is wrong
            column_names=None if header else list(types),
            skip_rows=skip_lines,
            encoding=encoding,
            use_threads=False,
        ),
        pa.csv.ParseOptions(
            delimiter=delimiter,
            quote_char='"' if quotes else False,
            newlines_in_values=quotes,
            ignore_empty_lines=blank_lines,
        ),
        pa.csv.ConvertOptions(column_types=dict(types), null_values=[]),
    )
    try:
        if first is None:
            return pa.csv.read_csv(source, *options)
        reader = pa.csv.open_csv(source, *options)
        return pa.Table.from_batches(_first_batches(reader, first), reader.schema).slice(0, first)
    except pa.ArrowInvalid as error:
        by_record = quotes and blank_lines and content is None
        sentence = _sentence(file, delimiter, str(error), by_record)
        raise ValueError(f"{sentence}; {advice}" if advice else sentence) from error


def location(file: Path, delimiter: str, number: int) -> str:
    """Return the location of the record after `number` others: `my.csv, line 7`, or its row if the line is unknown.

    Values may contain line breaks, and empty lines are not records, so lines have to be counted in the file.
    """
    return f"{file}, {_record(file, delimiter, number)[0]}"


def records(file: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the values of every record, the header first; bytes that are not UTF-8 become surrogates."""
    end = 0
    with file.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as stream:
        reader = csv.reader(stream, delimiter=delimiter)
        for values in reader:
            if values:
                yield end + 1, values
            end = reader.line_num


def is_utf8(value: str) -> bool:
    """Return whether a value of `records` was UTF-8 text in its file."""
    return not any("\udc80" <= character <= "\udcff" for character in value)


def _first_batches(batches: pa.csv.CSVStreamingReader, enough: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch
        enough -= len(batch)
        if enough <= 0:
            return


def _sentence(file: Path, delimiter: str, message: str, by_record: bool) -> str:
    """Return Arrow's message with the line it refers to, and advice if a value is not UTF-8."""
    numbered = re.search(r"Row #(\d+): ", message)
    if numbered is None:
        return f"{file} cannot be read as CSV: {_shortened(message)}"
    number = int(numbered[1])
    line, values = _record(file, delimiter, number - 1) if by_record else (f"line {number}", [])
    if by_record and "invalid UTF8" in message:
        broken = next((value for value in values if not is_utf8(value)), "")
        meant = broken.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
        return (
            f"{file}, {line}: {meant!r} is not UTF-8 text (shown here as Windows-1252, a guess); save the file "
            "as UTF-8"
        )
    return f"{file}, {line} cannot be read as CSV: {_shortened(message[numbered.end() :])}"


def _shortened(message: str) -> str:
    return " ".join(message.split())[:_LONGEST_REASON]


def _record(file: Path, delimiter: str, number: int) -> tuple[str, list[str]]:
    """Return where the record after `number` others begins, and its values."""
    try:
        line, values = next(islice(records(file, delimiter), number, None), (0, []))
    except csv.Error:  # a value longer than this reader takes
        line = 0
    return (f"line {line}", values) if line else (f"row {number}", [])
