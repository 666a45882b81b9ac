"""The members of findings and slices as CSV, for whoever wants to take them elsewhere."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyarrow import csv

from weakspot.findings import Findings
from weakspot.report.folds import pack

_FEWEST_BYTES = 0.5  # characters that an id and its weight take at least, compressed


@dataclass(frozen=True)
class Group:
    """The rows of `Findings.memberships` that are one finding or slice; its anchor is `slice-3`."""

    anchor: str
    start: int
    end: int


def groups(memberships: pa.Table) -> list[Group]:
    """The groups of a table in which each stands in one piece, in its order."""
    if not memberships.num_rows:
        return []
    kinds = memberships.column("group").combine_chunks().dictionary_encode()
    codes = kinds.indices.to_numpy(zero_copy_only=False)
    numbers = memberships.column("number").to_numpy()
    changes = np.flatnonzero((np.diff(codes) != 0) | (np.diff(numbers) != 0)) + 1
    starts = [0, *changes.tolist()]
    ends = [*starts[1:], memberships.num_rows]
    return [
        Group(f"{kinds.dictionary[codes[start].item()].as_py()}-{numbers[start]}", start, end)
        for start, end in zip(starts, ends, strict=True)
    ]


def ids_of_groups(findings: Findings, most: int) -> dict[str, str]:
    """Ids and weights of each finding's and slice's members, as compressed CSV.

    Args:
        findings: Whose memberships.
        most: Characters that all of it may take; groups that do not fit are left out.

    Returns:
        Anchor of a finding or slice → base64 of gzip.
    """
    packed: dict[str, str] = {}
    for group in groups(findings.memberships):
        if (group.end - group.start) * _FEWEST_BYTES > most:
            continue
        rows = findings.memberships.slice(group.start, group.end - group.start).select(["id", "weight"])
        buffer = io.BytesIO()
        csv.write_csv(rows, buffer)
        found = pack(buffer.getvalue().decode())
        if len(found) <= most:
            packed[group.anchor] = found
            most -= len(found)
    return packed
