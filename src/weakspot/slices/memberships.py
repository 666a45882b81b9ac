"""Memberships of which only what is not zero is kept: hundreds of clusters of a million examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.lib.mixins import NDArrayOperatorsMixin
from scipy.sparse import coo_array, csr_array


class Memberships(NDArrayOperatorsMixin):
    """How much each of n examples belongs to each of k slices; only what is not zero takes memory.

    It is read like an array (k, n) of float64. `m[j]` and iteration make an array (n,) of one slice, `m[:, rows]`
    keeps some of the examples and stays sparse. Everything else (`m.sum(axis=1)`, `m > 0`, `numpy.asarray(m)`) makes
    the whole array first, 8 bytes for every slice and example. It cannot be written into.
    """

    ndim = 2
    dtype = np.dtype(np.float64)

    def __init__(self, kept: csr_array) -> None:
        self.kept = kept
        self.shape: tuple[int, int] = kept.shape

    @classmethod
    def of_rows(cls, rows: Iterable[Float[np.ndarray, " n"]], n: int) -> Memberships:
        """Of slices that come one by one, each with the memberships of all n examples."""
        indices, data, ends = [np.empty(0, dtype=np.int64)], [np.empty(0)], [0]
        for row in rows:
            indices.append(np.flatnonzero(row))
            data.append(row[indices[-1]])
            ends.append(ends[-1] + len(indices[-1]))
        parts = np.concatenate(data), np.concatenate(indices), np.array(ends)
        return cls(csr_array(parts, shape=(len(ends) - 1, n)))

    @classmethod
    def of_clusters(
        cls, found: Int[np.ndarray, " k"], labels: Int[np.ndarray, " r"], rows: Int[np.ndarray, " r"], n: int
    ) -> Memberships:
        """Membership 1 of the examples `rows` whose cluster in `labels` is one of those found, 0 of all others."""
        slices = np.full(max(int(labels.max(initial=-1)), int(found.max(initial=-1))) + 1, -1)
        slices[found] = np.arange(len(found))
        of = slices[labels]
        inside = of >= 0
        ones = np.ones(np.count_nonzero(inside))
        return cls(coo_array((ones, (of[inside], rows[inside])), shape=(len(found), n)).tocsr())

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Float[np.ndarray, " n"]]:
        return (self[j] for j in range(len(self)))

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, (int, np.integer)):
            start, stop = self.kept.indptr[range(len(self))[key] :][:2]
            row = np.zeros(self.shape[1])
            row[self.kept.indices[start:stop]] = self.kept.data[start:stop]
            return row
        match key:
            case (slice(start=None, stop=None, step=None), slice() | np.ndarray() | list() as rows):
                return Memberships(self.kept[:, rows])
        return np.asarray(self)[key]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("memberships are sparse, and an array of them is always a new one")
        whole: np.ndarray = self.kept.toarray()
        return whole if dtype is None else whole.astype(dtype, copy=False)

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
        return f"Memberships({self.shape[0]} slices of {self.shape[1]} examples, {self.kept.nnz} not zero)"


Weights = Float[np.ndarray, "k n"] | Memberships
"""How much n examples belong to k slices: an array, or sparse."""


def as_weights(values: Any) -> Weights:
    """Values as an array of float64; sparse ones stay as they are."""
    return values if isinstance(values, Memberships) else np.asarray(values, dtype=np.float64)


def placed(
    own: Weights, rows: Int[np.ndarray, " n"], among: Float[np.ndarray, "k m"] | Memberships
) -> Float[np.ndarray, "k m"] | Memberships:
    """The memberships `own` for the examples `rows` of a larger record, those of `among` for its others."""
    if not (isinstance(own, Memberships) and isinstance(among, Memberships)):
        whole = np.array(among)
        whole[:, rows] = own
        return whole
    others = np.ones(among.shape[1], dtype=bool)
    others[rows] = False
    here, there = own.kept.tocoo(), among.kept.tocoo()
    left = others[there.col]
    values = np.concatenate([here.data, there.data[left]])
    of = np.concatenate([here.row, there.row[left]])
    at = np.concatenate([rows[here.col], there.col[left]])
    return Memberships(coo_array((values, (of, at)), shape=among.shape).tocsr())
