"""Makes and reads the table of every example of every finding and slice, with its weight."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Shaped

from weakspot.predictions.reading import DamagedError, read_parquet, reading
from weakspot.slices import Slices

_SCHEMA = pa.schema(
    {
        "group": pa.string(),
        "number": pa.int64(),
        "row": pa.int64(),
        "id": pa.string(),
        "weight": pa.float64(),
        "searched": pa.bool_(),
    }
)
NO_MEMBERSHIPS: pa.Table = _SCHEMA.empty_table()

MembershipGroup = tuple[Literal["finding", "slice"], int, np.ndarray, np.ndarray]
"""A finding or slice by its number, with the rows of its examples and their weights."""


_CORE = 0.5  # of a group's largest weight


def core_members(weights: Float[np.ndarray, " r"]) -> Bool[np.ndarray, " r"]:
    """Return which examples are a group's core: those with at least half of its largest weight."""
    return np.asarray(weights >= max(_CORE * weights.max(initial=0.0), 1e-300))


def groups_of_slices(slices: Slices) -> Iterator[MembershipGroup]:
    """Yield every slice's group of `Findings.memberships`."""
    for j, weights in enumerate(slices.weights):
        inside = np.flatnonzero(weights > 0)
        yield "slice", j + 1, inside, np.asarray(weights[inside], dtype=np.float64)


def memberships_table(
    groups: Sequence[MembershipGroup], ids: Shaped[np.ndarray, " n"], searched: Bool[np.ndarray, " n"]
) -> pa.Table:
    """Make the table of `Findings.memberships`.

    Args:
        groups: The findings and slices, in order.
        ids: (n,) the ids of all examples.
        searched: (n,) which examples were searched for the slices. What is measured on these is biased, because the
            slices were chosen by it.
    """
    rows = np.concatenate([group[2] for group in groups]) if groups else np.empty(0, dtype=np.int64)
    lengths = [len(group[2]) for group in groups]
    columns = {
        "group": np.repeat(np.array([group[0] for group in groups], dtype=object), lengths),
        "number": np.repeat(np.array([group[1] for group in groups], dtype=np.int64), lengths),
        "row": rows,
        "id": np.asarray(ids)[rows],
        "weight": np.concatenate([group[3] for group in groups]) if groups else np.empty(0),
        "searched": searched[rows],
    }
    return pa.table(columns, schema=_SCHEMA)


def read_memberships(path: Path) -> pa.Table:
    """Read the table from its file; in files of an earlier version, `searched` is null.

    Raises:
        DamagedError: If it cannot be read, lacks a column, or `searched` is not boolean; it names the file.
    """
    table = read_parquet(path)
    if "searched" not in table.column_names:
        table = table.append_column("searched", pa.nulls(table.num_rows, pa.bool_()))
    missing = [name for name in _SCHEMA.names if name not in table.column_names]
    if missing:
        raise DamagedError(f"{path}: column {missing[0]!r} is missing; run discover.py again")
    kind = table.schema.field("searched").type
    if not (pa.types.is_boolean(kind) or pa.types.is_null(kind)):  # a cast would make 0.5 true
        raise DamagedError(f"{path}: column 'searched' is {kind}, and must be boolean; run discover.py again")
    with reading(path):
        return table.select(_SCHEMA.names).cast(_SCHEMA)
