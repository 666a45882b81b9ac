"""Sparse memberships, which can hold hundreds of clusters of a million examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.lib.mixins import NDArrayOperatorsMixin
from scipy.sparse import coo_array, csr_array


class Memberships(NDArrayOperatorsMixin):
    """Holds how much each of n examples belongs to each of k slices; only values that are not zero take memory.

    It is read-only and behaves like a float64 array (k, n). `m[j]` and iteration give one slice as an array (n,);
    `m[:, rows]` takes some of the examples and stays sparse. Everything else (`m.sum(axis=1)`, `m > 0`,
    `numpy.asarray(m)`) first builds the dense array, with 8 bytes for every slice and example.

    Args:
        csr: The memberships, (k, n).
    """

    ndim = 2
    dtype = np.dtype(np.float64)

    def __init__(self, csr: csr_array) -> None:
        self.csr = csr
        self.shape: tuple[int, int] = csr.shape

    @classmethod
    def of_rows(cls, rows: Iterable[Float[np.ndarray, " n"]], n: int) -> Memberships:
        """Build memberships from slices that come one by one, each with the memberships of all n examples."""
        indices, data, ends = [np.empty(0, dtype=np.int64)], [np.empty(0)], [0]
        for row in rows:
            indices.append(np.flatnonzero(row))
            data.append(row[indices[-1]])
            ends.append(ends[-1] + len(indices[-1]))
        parts = np.concatenate(data), np.concatenate(indices), np.array(ends)
        return cls(csr_array(parts, shape=(len(ends) - 1, n)))

    @classmethod
    def of_clusters(
        cls,
        clusters: Int[np.ndarray, " k"],
        labels: Int[np.ndarray, " r"],
        rows: Int[np.ndarray, " r"],
        n: int,
    ) -> Memberships:
        """Build memberships of 1 for the examples whose cluster is one of `clusters`, and of 0 for all others.

        Args:
            clusters: The clusters that become slices.
            labels: The cluster of each of the examples `rows`.
            rows: The examples that were clustered.
            n: How many examples there are.
        """
        slices = np.full(max(int(labels.max(initial=-1)), int(clusters.max(initial=-1))) + 1, -1)
        slices[clusters] = np.arange(len(clusters))
        slice_of = slices[labels]
        inside = slice_of >= 0
        ones = np.ones(np.count_nonzero(inside))
        return cls(coo_array((ones, (slice_of[inside], rows[inside])), shape=(len(clusters), n)).tocsr())

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Float[np.ndarray, " n"]]:
        return (self[j] for j in range(len(self)))

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, (int, np.integer)):
            start, stop = self.csr.indptr[range(len(self))[key] :][:2]
            row = np.zeros(self.shape[1])
            row[self.csr.indices[start:stop]] = self.csr.data[start:stop]
            return row
        match key:
            case (slice(start=None, stop=None, step=None), slice() | np.ndarray() | list() as rows):
                return Memberships(self.csr[:, rows])
        return np.asarray(self)[key]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("memberships are sparse, so an array of them is always a copy")
        dense: np.ndarray = self.csr.toarray()
        return dense if dtype is None else dense.astype(dtype, copy=False)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **settings: Any) -> Any:
        if any(isinstance(one, Memberships) for one in settings.get("out", ())):
            return NotImplemented
        arrays = [np.asarray(one) if isinstance(one, Memberships) else one for one in inputs]
        return getattr(ufunc, method)(*arrays, **settings)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(np.ndarray, name):
            raise AttributeError(name)
        return getattr(np.asarray(self), name)

    def __repr__(self) -> str:
        return f"Memberships({self.shape[0]} slices of {self.shape[1]} examples, {self.csr.nnz} not zero)"


Weights = Float[np.ndarray, "k n"] | Memberships
"""How much n examples belong to k slices: a dense array, or sparse memberships."""


def as_weights(values: Any) -> Weights:
    """Return values as an array of float64; sparse memberships stay sparse."""
    return values if isinstance(values, Memberships) else np.asarray(values, dtype=np.float64)


def scatter_memberships(
    new: Weights, rows: Int[np.ndarray, " n"], base: Float[np.ndarray, "k m"] | Memberships
) -> Float[np.ndarray, "k m"] | Memberships:
    """Return the memberships `base` with those of the examples `rows` replaced by `new`.

    Args:
        new: Memberships of the examples `rows`, (k, n).
        rows: The positions of these examples in a larger record.
        base: Memberships of all m examples of the larger record, (k, m).
    """
    if not (isinstance(new, Memberships) and isinstance(base, Memberships)):
        dense = np.array(base)
        dense[:, rows] = new
        return dense
    others = np.ones(base.shape[1], dtype=bool)
    others[rows] = False
    inserted, old = new.csr.tocoo(), base.csr.tocoo()
    unchanged = others[old.col]
    values = np.concatenate([inserted.data, old.data[unchanged]])
    slices = np.concatenate([inserted.row, old.row[unchanged]])
    examples = np.concatenate([rows[inserted.col], old.col[unchanged]])
    return Memberships(coo_array((values, (slices, examples)), shape=base.shape).tocsr())
