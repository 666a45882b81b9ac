"""Conversion of arrays from any library to NumPy's, with checks whose errors name the array and the row."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import pyarrow as pa

from weakspot.legible import row_name

NUMBERS = (Real, Decimal, np.bool_)
"""The types of Python objects that count as numbers."""

SMALLEST_COUNT, LARGEST_COUNT = 1e-12, 1e12
"""The range of counts; outside it, products with distances overflow."""

# Sums of squared differences of embeddings must not overflow in float32, whatever the type of the embeddings: 2^28
# values at a time (`explain.projection`), each at most (2e14)^2, add up to 1.1e37, and float32 ends at 3.4e38. The map
# also holds losses in float32; their cubes (`evaluation.contrasts`) fit float64.
_LARGEST = {"embeddings": 1e14, "losses": 1e37}

_ROWS_PER_CHECK = 16_384


class NotFiniteError(ValueError):
    """Raised if an array holds NaN, infinity or a number whose square would overflow."""


def check_finite(name: str, array: np.ndarray, ids: np.ndarray, computed_from: str | None = None) -> None:
    """Raise NotFiniteError for the first row with NaN, infinity or, in embeddings and losses, too large a number.

    The extra memory is bounded. `computed_from` names what to scale down if the array itself was computed.
    """
    limit = _LARGEST.get(name, np.inf)
    if array.dtype.kind == "f":
        limit = array.dtype.type(min(limit, float(np.finfo(array.dtype).max)))
    for start in range(0, len(array), _ROWS_PER_CHECK):
        block = array[start : start + _ROWS_PER_CHECK]
        sound = (block >= -limit) & (block <= limit)  # NaN is neither
        if not sound.all():
            rows = sound if sound.ndim == 1 else sound.reshape(len(sound), -1).all(axis=1)
            row = int(np.argmin(rows))
            values = np.atleast_1d(block[row])
            problem = f"{name}: {row_name(start + row, ids)} holds"
            scale = None if computed_from is None else f"divide all {computed_from} by a constant"
            if not np.isfinite(values).all():
                raise NotFiniteError(f"{problem} NaN or infinity; {scale or 'repair'} or leave out the row")
            largest = float(values.flat[np.argmax(np.abs(values))])
            scale = scale or f"divide all {name} by {abs(largest):.3g}"
            raise NotFiniteError(
                f"{problem} {largest:.3g}, and values computed from it overflow beyond {limit:.3g}; {scale} or leave "
                "out the row"
            )


def as_array(name: str, values: Any) -> np.ndarray:
    """Return values from any library as a NumPy array; their content is not checked.

    Args:
        name: The name of the array in errors.
        values: Arrays, masked arrays without masked values, tensors on any device and of any precision, sparse
            matrices (SciPy's, torch's), columns and frames of pandas, Polars or Arrow, lists, and lists or columns
            with one of these for each row.

    Raises:
        ValueError: A value is masked, or rows differ in length.
    """
    if hasattr(values, "detach"):
        return _from_tensor(values)
    if isinstance(values, np.ma.MaskedArray):
        masked = np.ma.getmaskarray(values).reshape(len(values), -1).any(axis=1)
        if masked.any():
            raise ValueError(
                f"{name}: row {int(np.argmax(masked))} is masked; fill it in or leave out the row"
            )
        return np.asarray(values.data)
    if hasattr(values, "toarray"):  # SciPy's sparse matrices
        return np.asarray(values.toarray())
    if (
        isinstance(values, Sequence)
        and len(values)
        and not isinstance(values, str)
        and hasattr(values[0], "detach")
    ):
        return _stacked(name, values)
    try:
        if isinstance(values, pa.Array):
            array = np.asarray(values.to_numpy(zero_copy_only=False))
        else:
            array = np.asarray(values.to_numpy() if hasattr(values, "to_numpy") else values)
        if array.dtype.kind == "T":  # NumPy's texts of any length
            array = np.array(array.tolist())
    except ValueError as error:
        if "inhomogeneous" not in str(error):
            raise
        return _stacked(name, values)
    is_column = array.shape[1:] in ((), (1,))  # a column alone, or a frame with one column
    if array.dtype.kind == "O" and is_column and array.size and np.ndim(array.flat[0]) > 0:
        return _stacked(name, array.ravel())
    return array


def _from_tensor(tensor: Any) -> np.ndarray:
    tensor = tensor.detach().cpu()
    if "strided" not in str(tensor.layout):  # torch's sparse matrices
        tensor = tensor.to_dense()
    if tensor.is_floating_point() and tensor.dtype.itemsize < 4:  # NumPy has no bfloat16
        tensor = tensor.float()
    return np.asarray(tensor.numpy())


def _stacked(name: str, rows: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Stack one array for each row into one array."""
    arrays = [np.zeros(0) if row is None else as_array(name, row) for row in rows]
    shape = arrays[0].shape
    other = next((row for row, array in enumerate(arrays) if array.shape != shape), None)
    if other is not None:
        raise ValueError(
            f"{name}: row {other} has {arrays[other].size} values, but row 0 has {arrays[0].size}; "
            "give every row the same number"
        )
    return np.stack(arrays)


def as_numbers(name: str, values: Any) -> np.ndarray:
    """Return integers, truth values or floats from any library as an array; Python objects (Decimal) become float64."""
    array = as_array(name, values)
    if array.dtype.kind == "O":
        return _from_objects(name, array)
    if array.dtype.kind == "V" and "float" in array.dtype.name:  # bfloat16 and the like, as JAX has them
        return array.astype(np.float32)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be numbers, not {array.dtype}")
    return array


def _from_objects(name: str, array: np.ndarray) -> np.ndarray:
    odd = next((at for at, value in enumerate(array.flat) if not isinstance(value, NUMBERS)), None)
    if odd is not None:
        row = odd // max(array.size // len(array), 1)
        raise ValueError(
            f"{name} must be numbers, but row {row} holds {array.flat[odd]!r}; fill it in or leave out the row"
        )
    return array.astype(np.float64)


def floats(name: str, values: Any) -> np.ndarray:
    """Return numbers as float32, or as float64 if they have that precision or a higher one."""
    array = as_numbers(name, values)
    double = array.dtype.kind == "f" and array.dtype.itemsize >= 8
    return array.astype(np.float64 if double else np.float32, copy=False)


def rows(name: str, values: Any) -> np.ndarray:
    """Return numbers for each row, (n, d), with n and d above 0; a mapped half-precision array stays mapped."""
    mapped = isinstance(values, np.memmap) and values.dtype == np.float16
    array = _in_dimensions(name, np.asarray(values) if mapped else floats(name, values), dims=2)
    if len(array) == 0:
        raise ValueError(f"{name} are empty: there is nothing to search")
    if array.shape[1] == 0:
        raise ValueError(f"{name} have no columns")
    return array


def column(name: str, values: Any, ids: np.ndarray) -> np.ndarray:
    """Return one finite number for each row, (n,)."""
    array = _in_dimensions(name, floats(name, values), dims=1)
    _check_rows(name, array, ids)
    return array


def columns(name: str, values: Any, ids: np.ndarray) -> np.ndarray:
    """Return the same number of finite values for each row, (n, C); an array (n,) becomes (n, 1)."""
    array = floats(name, values)
    array = _in_dimensions(name, array[:, None] if array.ndim == 1 else array, dims=2)
    _check_rows(name, array, ids)
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
    """Return the ids of n rows as unique texts; by default, the row numbers."""
    if ids is None:
        return np.arange(n).astype(str)
    names = as_array("ids", ids)
    names = np.char.decode(names, "utf-8") if names.dtype.kind == "S" else names.astype(str)
    if names.shape != (n,):
        raise ValueError(f"ids have shape {names.shape} but embeddings have {n} rows")
    unique, count = np.unique(names, return_counts=True)
    if len(unique) < n:
        repeated = str(unique[np.argmax(count > 1)])
        rows = np.flatnonzero(names == repeated)[:2].tolist()
        raise ValueError(f"ids must be unique: {repeated!r} occurs in rows {rows[0]} and {rows[1]}")
    return names


def booleans(correct: Any, ids: np.ndarray) -> np.ndarray:
    """Return the correctness of each row, (n,), given as truth values or as 0 and 1."""
    array = as_array("correct", correct)
    if array.shape != (len(ids),):
        raise ValueError(f"correct has shape {array.shape} but embeddings have {len(ids)} rows")
    if array.dtype != bool:
        bad = ~np.isin(array, (0, 1))
        if bad.any():
            row = int(np.argmax(bad))
            raise ValueError(f"correct: {row_name(row, ids)} is {array[row]}, neither 0 nor 1")
    return array.astype(bool)


def counts(values: Any, ids: np.ndarray) -> np.ndarray:
    """Return the count of each row, (n,), checked by `check_counts`."""
    array = column("counts", values, ids)
    check_counts(array, ids)
    return array


def check_counts(counts: np.ndarray, ids: np.ndarray) -> None:
    """Raise ValueError for the first row whose count is not positive or lies outside the allowed range."""
    outside = ~((counts >= SMALLEST_COUNT) & (counts <= LARGEST_COUNT))
    if outside.any():
        row = int(np.argmax(outside))
        problem = f"counts: {row_name(row, ids)} is {counts[row]:g}"
        if counts[row] <= 0:
            raise ValueError(f"{problem}; counts must be positive")
        raise ValueError(
            f"{problem}; counts must lie between {SMALLEST_COUNT:g} and {LARGEST_COUNT:g}: scale all of them"
        )
