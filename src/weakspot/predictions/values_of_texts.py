"""Conversion of numbers, truth values, dates and times that are written as texts, and the words for missing ones."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from weakspot.predictions.plain_times import local_times

MISSING_WORDS = (
    *(
        "n/a",
        "#n/a",
        "na",
        "#na",
        "nan",
        "null",
        "none",
        "nil",
        "missing",
        "(missing)",
        "unknown",
        "undefined",
    ),
    *("-", "--", "?", "."),
)
"""The words, in upper or lower case, that people write for a missing number or date."""


def values_of_texts(texts: pa.ChunkedArray, infer_types: bool) -> pa.ChunkedArray:
    """Return trimmed texts, or values of another type if all texts stand for such values."""
    if infer_types and len(texts) and (numbers := _numbers(texts)) is not None:
        return numbers  # the usual case first: files can have many columns
    encoded = texts.dictionary_encode().unify_dictionaries()
    if encoded.num_chunks == 0:
        return texts.cast(pa.string())
    distinct = _from_distinct(
        pa.chunked_array([encoded.chunk(0).dictionary]), infer_types
    )  # usually far fewer
    return distinct.take(pa.chunked_array([chunk.indices for chunk in encoded.chunks]))


def _from_distinct(texts: pa.ChunkedArray, infer_types: bool) -> pa.ChunkedArray:
    trimmed = pc.utf8_trim_whitespace(texts)
    trimmed = pc.if_else(pc.equal(trimmed, ""), None, trimmed)
    if trimmed.null_count == len(trimmed):
        return trimmed.cast(pa.string())
    known = pc.if_else(
        pc.is_in(pc.utf8_lower(trimmed), pa.array(MISSING_WORDS, pa.large_string())), None, trimmed
    )
    has_gaps = known.null_count > trimmed.null_count
    if known.null_count < len(known):
        typed = (_numbers(known) if infer_types or has_gaps else None) or (
            _truths(known) if infer_types else None
        )
        typed = typed or _moments(known)
        if typed is not None:
            return typed
    try:
        return trimmed.cast(pa.string())
    except pa.ArrowInvalid:  # more than 2 GiB of text
        return trimmed


def _numbers(texts: pa.ChunkedArray) -> pa.ChunkedArray | None:
    if pc.any(pc.match_substring_regex(texts, "^[+-]?0[0-9xX]")).as_py():  # a code: post codes, hexadecimals
        return None
    return _cast(texts, pa.int64(), pa.float64())


def _truths(texts: pa.ChunkedArray) -> pa.ChunkedArray | None:
    return _cast(texts, pa.bool_())


def _moments(texts: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return dates, timestamps or times of day that are written in ISO 8601."""
    dates = _cast(texts, pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC"))
    if dates is not None:
        return local_times(dates) if pa.types.is_timestamp(dates.type) else dates
    day, nothing = pa.scalar("1970-01-01T", texts.type), pa.scalar("", texts.type)
    moments = _cast(pc.binary_join_element_wise(day, texts, nothing), pa.timestamp("us"))
    return None if moments is None else moments.cast(pa.time64("us"))


def _cast(texts: pa.ChunkedArray, *kinds: pa.DataType) -> pa.ChunkedArray | None:
    """Return the texts as the first of these types that fits all of them, or None."""
    for kind in kinds:
        try:
            return texts.cast(kind)
        except pa.ArrowInvalid:
            continue
    return None
