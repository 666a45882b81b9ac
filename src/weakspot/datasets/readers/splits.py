"""Splits and assignments that depend on ids alone: never on a seed, the order of rows, or the machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Int, Shaped

from weakspot.hashing import id_hashes

VAL_SHARE = 0.1
TEST_SHARE = 0.2


def pick_val(ids: Iterable[str]) -> Bool[np.ndarray, " n"]:
    """About a tenth of the ids, for validation; the same ones again when others are added."""
    return id_hashes(ids, "val") < VAL_SHARE


def split_by_id(ids: Iterable[str]) -> Shaped[np.ndarray, " n"]:
    """`train`, `val` or `test` for each id, about 7 : 1 : 2; the same again when others are added."""
    ids = list(ids)
    rest = np.where(pick_val(ids), "val", "train")
    return np.where(id_hashes(ids, "test") < TEST_SHARE, "test", rest)


def fill_splits(ids: Sequence[str], given: Sequence[str] | None) -> Shaped[np.ndarray, " n"]:
    """Each example's split as given, where val is missing a tenth of train; by a hash of its id if none is."""
    if given is None:
        return split_by_id(ids)
    assigned = np.array(given)
    return assigned if "val" in assigned else np.where((assigned == "train") & pick_val(ids), "val", assigned)


def published_rows(split: str, n: int) -> tuple[Shaped[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """Ids and row numbers of a split, within the published half it is of: val is picked from train.

    `n` is the length of that half: test's for test, else train's.
    """
    half = "test" if split == "test" else "train"
    ids = np.array([f"{half}-{row:05d}" for row in range(n)])
    rows = np.arange(n) if split == "test" else np.flatnonzero(pick_val(ids) == (split == "val"))
    return ids[rows], rows
