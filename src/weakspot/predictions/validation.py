"""Checks of anyone's arrays: what is wrong is said with the array's name and the row."""

from __future__ import annotations

from typing import Any

import numpy as np

_ROWS_PER_CHECK = 16_384


class NotFiniteError(ValueError):
    """A number that is none: NaN or infinity where a method needs a value."""


def check_finite(name: str, array: np.ndarray, ids: np.ndarray) -> None:
    """Raise NotFiniteError naming the first row of `array` that holds NaN or infinity; a bounded extra memory."""
    for start in range(0, len(array), _ROWS_PER_CHECK):
        finite = np.isfinite(array[start : start + _ROWS_PER_CHECK])
        if not finite.all():
            rows = finite if finite.ndim == 1 else finite.reshape(len(finite), -1).all(axis=1)
            row = start + int(np.argmin(rows))
            raise NotFiniteError(
                f"{name}: row {row} (id {ids[row]}) holds NaN or infinity; repair or leave out the row"
            )


def floats(name: str, values: Any) -> np.ndarray:
    """Anyone's numbers as float32, or float64 where they are that."""
    if hasattr(values, "detach"):  # a tensor, on whatever device
        values = values.detach().cpu()
        if values.is_floating_point() and values.dtype.itemsize < 4:  # NumPy has no bfloat16
            values = values.float()
        values = values.numpy()
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be numbers, not {array.dtype}")
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)


def column(name: str, values: Any, ids: np.ndarray) -> np.ndarray:
    """One finite number for each row, (n,)."""
    array = _in_dimensions(name, floats(name, values), dims=1)
    _check_rows(name, array, ids)
    return array


def columns(name: str, values: Any, ids: np.ndarray) -> np.ndarray:
    """The same finite numbers for each row, (n, C); one number may stand as (n,)."""
    array = floats(name, values)
    array = _in_dimensions(name, array[:, None] if array.ndim == 1 else array, dims=2)
    _check_rows(name, array, ids)
    return array


def rows(name: str, values: Any) -> np.ndarray:
    """Numbers for each row, (n, d); there must be some."""
    array = _in_dimensions(name, floats(name, values), dims=2)
    if len(array) == 0:
        raise ValueError(f"{name} are empty: there is nothing to search")
    if array.shape[1] == 0:
        raise ValueError(f"{name} have no columns")
    return array


def _in_dimensions(name: str, array: np.ndarray, dims: int) -> np.ndarray:
    if array.ndim != dims:
        raise ValueError(f"{name} must have {dims} dimension{'s' * (dims > 1)}, not shape {array.shape}")
    return array


def _check_rows(name: str, array: np.ndarray, ids: np.ndarray) -> None:
    if len(array) != len(ids):
        raise ValueError(f"{name} has {len(array)} rows but embeddings have {len(ids)}")
    check_finite(name, array, ids)


def identifiers(ids: Any, n: int) -> np.ndarray:
    if ids is None:
        return np.arange(n).astype(str)
    names = np.asarray(ids).astype(str)
    if names.shape != (n,):
        raise ValueError(f"ids have shape {names.shape} but embeddings have {n} rows")
    unique, count = np.unique(names, return_counts=True)
    if len(unique) < n:
        repeated = str(unique[np.argmax(count > 1)])
        rows = np.flatnonzero(names == repeated)[:2].tolist()
        raise ValueError(f"ids must be unique: {repeated!r} stands in rows {rows[0]} and {rows[1]}")
    return names


def booleans(correct: Any, ids: np.ndarray) -> np.ndarray:
    right = np.asarray(correct)
    if right.shape != (len(ids),):
        raise ValueError(f"correct has shape {right.shape} but embeddings have {len(ids)} rows")
    if right.dtype != bool:
        bad = ~np.isin(right, (0, 1))
        if bad.any():
            row = int(np.argmax(bad))
            raise ValueError(f"correct: row {row} (id {ids[row]}) is {right[row]}, neither 0 nor 1")
    return right.astype(bool)


def counts(given: Any, ids: np.ndarray) -> np.ndarray:
    weights = column("counts", given, ids)
    if (weights <= 0).any():
        row = int(np.argmax(weights <= 0))
        raise ValueError(f"counts: row {row} (id {ids[row]}) is {weights[row]:g}; counts must be positive")
    return weights
