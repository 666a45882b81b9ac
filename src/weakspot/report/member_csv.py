"""The members of findings and slices as CSV, for use in other tools."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from weakspot.delimited import FORMULA_STARTS, formula_free
from weakspot.findings import Findings
from weakspot.report.folds import pack

_FEWEST_CHARACTERS = 0.5  # characters, at least, that an id and its weight take when compressed


@dataclass(frozen=True)
class MemberGroup:
    """The rows of `Findings.memberships` that belong to one finding or slice.

    Attributes:
        anchor: The anchor of the finding or slice in the page: `slice-3`.
        start, end: The first row, and the one after the last.
    """

    anchor: str
    start: int
    end: int


def member_groups(memberships: pa.Table) -> list[MemberGroup]:
    """Return the groups of a table of memberships in which the rows of each group are contiguous, in their order."""
    if not memberships.num_rows:
        return []
    kinds = memberships.column("group").combine_chunks().dictionary_encode()
    codes = kinds.indices.to_numpy(zero_copy_only=False)
    numbers = memberships.column("number").to_numpy()
    changes = np.flatnonzero((np.diff(codes) != 0) | (np.diff(numbers) != 0)) + 1
    starts = [0, *changes.tolist()]
    ends = [*starts[1:], memberships.num_rows]
    return [
        MemberGroup(f"{kinds.dictionary[codes[start].item()].as_py()}-{numbers[start]}", start, end)
        for start, end in zip(starts, ends, strict=True)
    ]


def member_csvs(findings: Findings, most: int) -> dict[str, str]:
    """Return ids and weights of the members of each finding and slice, as compressed CSV.

    Args:
        findings: The findings.
        most: Characters that all CSV texts may take; groups that do not fit are left out.

    Returns:
        The CSV as base64 of gzip, by the anchor of the finding or slice.
    """
    packed: dict[str, str] = {}
    for group in member_groups(findings.memberships):
        if (group.end - group.start) * _FEWEST_CHARACTERS > most:
            continue
        rows = findings.memberships.slice(group.start, group.end - group.start)
        rows = pa.table({"id": _formula_free(rows["id"]), "weight": rows["weight"]})
        buffer = io.BytesIO()
        csv.write_csv(rows, buffer)
        text = pack(buffer.getvalue().decode())
        if len(text) <= most:
            packed[group.anchor] = text
            most -= len(text)
    return packed


def _formula_free(ids: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """Return ids that no spreadsheet takes for formulas; the same array if none begins like one, as is usual."""
    if not pc.any(pc.match_substring_regex(ids, f"^[{FORMULA_STARTS}]")).as_py():
        return ids
    return pa.array([None if id is None else formula_free(id) for id in ids.to_pylist()], pa.string())
