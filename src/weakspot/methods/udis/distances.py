"""Squared distances by matrix product, exact also where the product alone would cancel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numba import njit

from weakspot.methods.base import Callback
from weakspot.methods.udis.threads import each_block

_ROWS = 512
_KERNEL_ROWS = 32
ROOM = 1e-12  # what squared norms must leave of the dtype's range for sums over clusters
_ROUNDINGS = 32  # a squared distance holds no more error than so many roundings of the norms it comes from


@dataclass(frozen=True, eq=False)
class Points:
    """Rows about a common centre and their squared norms: ‖a - b‖² = ‖a‖² + ‖b‖² - 2a·b needs no more."""

    x: Float[np.ndarray, "n d"]
    norms: Float[np.ndarray, " n"]

    @classmethod
    def about(cls, centre: Float[np.ndarray, " d"], rows: Float[np.ndarray, "n d"], dtype: str) -> Points:
        """Centred first: far from the origin the products would be large and their difference all rounding.

        Raises ValueError where a squared norm overflows `dtype`.
        """
        wide = np.result_type(rows.dtype, dtype)
        x = np.subtract(rows, centre.astype(wide), dtype=wide).astype(dtype, copy=False)
        with np.errstate(over="ignore"):
            norms = np.einsum("ij,ij->i", x, x)
        if not (norms < ROOM * np.finfo(norms.dtype).max).all():
            longest = int(np.abs(x).max(axis=1).argmax())
            raise ValueError(
                f"the embedding of row {longest} is too long to be squared in {dtype}; rescale the embeddings"
            )
        return cls(x, norms)

    def __getitem__(self, rows: slice) -> Points:
        return Points(self.x[rows], self.norms[rows])


def mean_row(rows: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " d"]:
    """The mean in float64, block by block: `rows` may be memory-mapped and large."""
    total: np.ndarray = np.zeros(rows.shape[1])
    for start in range(0, len(rows), 16 * _ROWS):
        total += rows[start : start + 16 * _ROWS].sum(axis=0, dtype=np.float64)
    total /= len(rows)
    return total


def squared_distances(
    a: Points, b: Points, out: Float[np.ndarray, "n m"] | None = None
) -> Float[np.ndarray, "n m"]:
    """‖a_i - b_j‖² for every pair, in the points' dtype, into `out` if given."""
    squares: np.ndarray = np.matmul(a.x, b.x.T, out=out)
    near = float(np.sqrt(np.finfo(squares.dtype).eps))

    def work(start: int, stop: int) -> None:
        _finish(squares[start:stop], a.x[start:stop], a.norms[start:stop], b.x, b.norms, near)

    each_block(len(squares), _KERNEL_ROWS, work)
    return squares


def nearest(a: Points, b: Points) -> Int[np.ndarray, " n"]:
    """For every row of `a` the nearest one of `b`; of those that are as near but for rounding, the first.

    Which of two equally far rows is a last bit nearer depends on the library that multiplies, and on where in
    a block the row stands.
    """
    squares = squared_distances(a, b)
    least = squares.min(axis=1)
    rounding = _ROUNDINGS * np.finfo(squares.dtype).eps
    limit = (least + rounding * a.norms)[:, None] + rounding * b.norms
    first: np.ndarray = (squares <= limit).argmax(axis=1)
    return first


def all_squared_distances(points: Points, callback: Callback) -> Float[np.ndarray, "n n"]:
    """The symmetric matrix of them all; only its lower half is multiplied out."""
    n = len(points.x)
    squares = np.empty((n, n), dtype=points.x.dtype)
    for start in range(0, n, _ROWS):
        stop = min(start + _ROWS, n)
        block = squared_distances(points[start:stop], points[:stop], out=squares[start:stop, :stop])
        squares[:start, start:stop] = block[:, :start].T
        callback("distances", stop, n)
    return squares


@njit(cache=True, nogil=True)
def _finish(
    products: np.ndarray, a: np.ndarray, a_norms: np.ndarray, b: np.ndarray, b_norms: np.ndarray, near: float
) -> None:
    """Turn products a·b into squared distances; near pairs, which cancel, are subtracted directly."""
    for i in range(len(products)):
        row = products[i]
        for j in range(len(row)):
            row[j] = a_norms[i] + b_norms[j] - 2 * row[j]
        for j in range(len(row)):
            if row[j] < near * (a_norms[i] + b_norms[j]):
                total = 0.0
                for c in range(a.shape[1]):
                    step = a[i, c] - b[j, c]
                    total += step * step
                row[j] = total
