"""Conversion of Arrow columns of any type to plain ones, which Parquet and JSON can store and people can read.

A plain column holds truth values, numbers, dates, times, durations or texts. Every table of attributes is converted
on input, so that code that reads attributes later never meets an unknown type.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from weakspot.predictions.plain_times import dates_or_numbers, local_times, to_microseconds
from weakspot.predictions.values_of_texts import values_of_texts

_LONGEST_LIST = 20  # entries of a list that become text; more would describe nothing


def plain_table(table: pa.Table, infer_types: bool = False) -> tuple[pa.Table, dict[str, str]]:
    """Return a table of plain columns.

    Texts are trimmed, and empty ones become null. A column of texts that are all dates or times becomes dates or times;
    one of numbers and words such as "n/a" becomes numbers. A struct becomes one column per field (`name.field`); a
    list or a map becomes the text of its first entries. Dictionaries become their values, except ordered ones, which
    stay dictionaries because their order is meaningful.

    Args:
        table: Attributes of any type.
        infer_types: Whether texts that look like numbers or truth values are converted too, as in CSV files. In a
            typed table, numbers are stored as texts on purpose.

    Returns:
        The table, and for each column that cannot be converted, by name, the reason.

    Raises:
        ValueError: A struct's field has the name of another column, or a name holds the character NUL.
    """
    plain: list[tuple[str, pa.ChunkedArray]] = []
    left_out = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            plain += _plain(name, column, infer_types)
        except (pa.ArrowException, OverflowError, ValueError) as error:
            left_out[name] = " ".join(str(error).split())[:160]
    names = [name for name, _ in plain]
    if (twice := first_repeated(names)) is not None:
        raise ValueError(f"there are two attributes {twice!r}; rename or leave out one of them")
    cut = next((name for name in names if "\0" in name), None)
    if cut is not None:  # a Parquet file would cut the name there
        raise ValueError(f"the name of the attribute {cut!r} holds the character NUL; rename it")
    return pa.table([column for _, column in plain], names=names), left_out


def first_repeated(names: Sequence[str]) -> str | None:
    """Return the first name that occurs a second time, or None."""
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]


def _plain(name: str, column: pa.ChunkedArray, infer_types: bool) -> Iterator[tuple[str, pa.ChunkedArray]]:
    kind = column.type
    if pa.types.is_struct(kind):
        for at, field in enumerate(kind):
            part = pa.chunked_array([pc.struct_field(chunk, [at]) for chunk in column.chunks], field.type)
            yield from _plain(f"{name}.{field.name}", part, infer_types)
        return
    inner = _unwrapped(column)
    if inner is not None:
        yield from _plain(name, inner, infer_types)
        return
    yield name, _plain_values(column, infer_types)


def _unwrapped(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return the values inside a type that only wraps another one; None for any other type."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name == "arrow.uuid":
            storage = (value.as_py() for chunk in column.chunks for value in chunk.storage)
            texts = [None if value is None else str(uuid.UUID(bytes=value)) for value in storage]
            return pa.chunked_array([pa.array(texts, pa.string())])
        if kind.extension_name.startswith("pandas."):  # periods and intervals, written as in pandas
            return pa.chunked_array([pa.array(column.to_pandas().astype("string"), pa.string())])
        if kind.extension_name == "arrow.bool8":
            return column.cast(pa.bool_())
        return pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
    if pa.types.is_dictionary(kind):
        return None if kind.ordered else _dictionary_values(column)
    if pa.types.is_run_end_encoded(kind):
        return pa.chunked_array([pc.run_end_decode(chunk) for chunk in column.chunks], kind.value_type)
    return None


def _plain_values(column: pa.ChunkedArray, infer_types: bool) -> pa.ChunkedArray:
    """Return a column of single values, or of lists, as a plain column."""
    kind, types = column.type, pa.types
    if types.is_dictionary(kind):
        return _ordered_texts(column)
    if types.is_float16(kind):
        return column.cast(pa.float32())  # Parquet readers lack it
    if types.is_decimal(kind):
        return column.cast(pa.float64())
    if types.is_date(kind):
        return dates_or_numbers(column.cast(pa.date32()))
    if types.is_timestamp(kind):
        return local_times(column)
    if types.is_time(kind):
        return to_microseconds(column, pa.time64("us"))
    if types.is_duration(kind):
        return to_microseconds(column, pa.duration("us"))
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return values_of_texts(column.cast(pa.large_string()), infer_types)
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind):
        return values_of_texts(_decoded(column.cast(pa.large_binary())), infer_types)
    if types.is_fixed_size_binary(kind):
        return values_of_texts(_decoded(column.cast(pa.large_binary())), infer_types)
    if types.is_map(kind) or types.is_union(kind) or types.is_interval(kind):
        return _as_texts(column)
    if types.is_nested(kind):
        return _as_texts(pc.list_slice(column, 0, _LONGEST_LIST + 1, return_fixed_size_list=False))
    return column


def _dictionary_values(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the values of a dictionary, row by row."""
    kind = column.type.value_type
    kind = pa.string() if pa.types.is_string_view(kind) else kind
    return pa.chunked_array(
        [chunk.dictionary.cast(kind).take(chunk.indices) for chunk in column.chunks], kind
    )


def _ordered_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the values of an ordered dictionary as texts that keep the order."""
    array = column.unify_dictionaries().combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # no rows, or too many for one array
        return _dictionary_values(column).cast(pa.string())
    values = array.dictionary.cast(pa.string())
    return pa.chunked_array(
        [pa.DictionaryArray.from_arrays(array.indices.cast(pa.int32()), values, ordered=True)]
    )


def _as_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return lists, maps and other composite values as texts; an empty list counts as missing."""
    texts = [None if value is None else _as_text(value) or None for value in column.to_pylist()]
    return pa.chunked_array([pa.array(texts, pa.string())])


def _as_text(value: Any) -> str:
    if isinstance(value, pa.MonthDayNano):
        return f"P{value.months}M{value.days}DT{value.nanoseconds / 1e9:g}S"  # as ISO 8601 writes them
    if not isinstance(value, list):
        return str(value)
    entries = [f"{entry[0]}: {entry[1]}" if isinstance(entry, tuple) else str(entry) for entry in value]
    return ", ".join(entries[:_LONGEST_LIST]) + (", …" if len(entries) > _LONGEST_LIST else "")


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return column.cast(pa.large_string())
    except pa.ArrowInvalid as error:
        raise ValueError("it holds bytes that are not UTF-8 text; decode them first") from error
