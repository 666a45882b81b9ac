"""Dates and times of any Arrow type as plain ones: local, in microseconds, within the range of Python's dates."""

from __future__ import annotations

from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc

_EARLIEST, _LATEST = datetime(1, 1, 1), datetime(9999, 12, 31)  # the range of Python's dates


def local_times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return timestamps in local time, to the microsecond."""
    if column.type.tz is not None:
        try:
            column = pc.local_timestamp(column)
        except pa.ArrowInvalid:  # the time zone is unknown on this machine, so UTC is kept
            column = column.cast(pa.timestamp(column.type.unit))
    try:
        return dates_or_numbers(to_microseconds(column, pa.timestamp("us")))
    except pa.ArrowInvalid:
        return column.cast(pa.int64())


def dates_or_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the column, or its bare numbers if it has dates outside the range of Python's."""
    days = pa.types.is_date32(column.type)
    first, last = (
        pa.scalar(date(end.year, end.month, end.day) if days else end, column.type)
        for end in (_EARLIEST, _LATEST)
    )
    outside = pc.or_(pc.less(column, first), pc.greater(column, last))
    return column.cast(pa.int32() if days else pa.int64()) if pc.any(outside).as_py() else column


def to_microseconds(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Truncate finer times to microseconds; coarser ones that are too large raise ArrowInvalid."""
    return pc.cast(column, options=pc.CastOptions(kind, allow_time_truncate=True))
