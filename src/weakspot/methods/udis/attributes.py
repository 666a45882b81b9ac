"""Attributes as shares: columns of indicators whose mean over a cluster is its distribution."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int

_MOST_VALUES = 50
_BINS = 5


@dataclass(frozen=True, eq=False)
class Attribute:
    """One attribute as a code per row into readable names; a code of -1 is a missing value."""

    names: tuple[str, ...]
    codes: Int[np.ndarray, " n"]


def attributes_of(table: pa.Table) -> list[Attribute]:
    """Every column of which a distribution can be given.

    Numbers of many values become quintiles. Other columns of more than 50 values (file names, captions) and
    nested ones have no distribution and are left out.
    """
    found = (_attribute(name, table.column(name)) for name in table.column_names)
    return [attribute for attribute in found if attribute is not None]


def _attribute(name: str, column: pa.ChunkedArray) -> Attribute | None:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_nested(kind) or pa.types.is_null(kind):
        return None
    if pc.count_distinct(column).as_py() <= _MOST_VALUES:
        values = pc.unique(column.drop_null()).sort()
        codes = pc.index_in(column, value_set=values).fill_null(-1).to_numpy()
        return Attribute(tuple(f"{name}={value}" for value in values.to_pylist()), codes.astype(np.int64))
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return None
    numbers = column.cast(pa.float64(), safe=False).to_numpy()
    known = np.isfinite(numbers)
    edges = np.unique(np.quantile(numbers[known], np.arange(1, _BINS) / _BINS))
    codes = np.where(known, np.searchsorted(edges, numbers, side="left"), -1)
    texts = [f"{edge:.4g}" for edge in edges]
    names = [
        f"{name}≤{texts[0]}",
        *(f"{low}<{name}≤{high}" for low, high in pairwise(texts)),
    ]
    return Attribute((*names, f"{name}>{texts[-1]}"), codes)
