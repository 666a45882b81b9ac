"""Splits rows into those that a method may search and those that test its slices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Shaped

from weakspot.hashing import id_hashes

MIN_EXAMPLES = 20
"""The fewest audited examples that slices are searched in, and tested or compared on."""


def held_out(
    ids: Sequence[str] | Shaped[np.ndarray, " n"],
    share: float,
    groups: Sequence[object] | Shaped[np.ndarray, " n"] | None = None,
) -> Bool[np.ndarray, " n"]:
    """Choose the rows to hold out by a hash of their ids, and keep rows of one group on one side.

    The choice depends on nothing else, so it stays the same when rows are reordered or others are added. Two
    rows of one patient, camera or user are not independent: a slice found in one half would be confirmed by the
    same patient in the other.

    Args:
        ids: (n,) texts, one per row.
        share: how much to hold out, strictly between 0 and 1; a share of the groups if there are any.
        groups: (n,) values, equal for rows that belong together; a row whose group is None stands alone.

    Returns:
        (n,) True for held-out rows.

    Raises:
        ValueError: if the share is not between 0 and 1, or the groups are not one per row.
    """
    if not 0 < share < 1:
        raise ValueError(f"the held-out share is {share}, but must lie between 0 and 1")
    if groups is None:
        return id_hashes(map(str, ids), "held out") < share
    if len(groups) != len(ids):
        raise ValueError(f"there are {len(groups)} groups for {len(ids)} rows; give one for each row")
    units = (
        f"row {name}" if group is None else f"group {group}" for name, group in zip(ids, groups, strict=True)
    )
    return id_hashes(units, "held out") < share
