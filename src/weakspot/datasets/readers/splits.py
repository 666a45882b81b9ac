"""Assigns rows to splits by their ids alone, so that no seed, order of rows or machine changes the result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Int, Shaped

from weakspot.hashing import id_hashes

VAL_SHARE = 0.1
TEST_SHARE = 0.2


def pick_val(ids: Iterable[str]) -> Bool[np.ndarray, " n"]:
    """Choose about a tenth of the ids for validation; the choice stays the same when others are added."""
    return id_hashes(ids, "val") < VAL_SHARE


def split_by_id(ids: Iterable[str]) -> Shaped[np.ndarray, " n"]:
    """Assign `train`, `val` or `test` to each id, about 7 : 1 : 2; adding ids changes no other id's split."""
    ids = list(ids)
    rest = np.where(pick_val(ids), "val", "train")
    return np.where(id_hashes(ids, "test") < TEST_SHARE, "test", rest)


def fill_splits(ids: Sequence[str], given: Sequence[str] | None) -> Shaped[np.ndarray, " n"]:
    """Complete the given splits: if there are none, by a hash of ids; if val is missing, by a tenth of train."""
    if given is None:
        return split_by_id(ids)
    assigned = np.array(given)
    return assigned if "val" in assigned else np.where((assigned == "train") & pick_val(ids), "val", assigned)


def published_rows(split: str, n: int) -> tuple[Shaped[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """Return ids and row numbers of a split within its published half; val is a part of the published train.

    Args:
        split: train, val or test.
        n: The number of rows of the half: of test for test, otherwise of train.
    """
    half = "test" if split == "test" else "train"
    ids = np.array([f"{half}-{row:05d}" for row in range(n)])
    rows = np.arange(n) if split == "test" else np.flatnonzero(pick_val(ids) == (split == "val"))
    return ids[rows], rows
