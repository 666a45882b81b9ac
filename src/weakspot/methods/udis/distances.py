"""Squared distances by matrix product, exact even where the product alone would cancel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numba import njit

from weakspot.methods.base import Callback
from weakspot.methods.udis.row_blocks import each_block

_ROWS = 512
_KERNEL_ROWS = 32
NORM_HEADROOM = 1e-12
"""Squared norms must stay below this share of the dtype's range, for sums over clusters."""

_ROUNDINGS = 32  # the largest error of a squared distance, in roundings of the norms it comes from


@dataclass(frozen=True, eq=False)
class CentredRows:
    """Holds rows relative to a common centre, and their squared norms: ‖a - b‖² = ‖a‖² + ‖b‖² - 2a·b.

    Attributes:
        x: (n, d) the centred rows.
        norms: (n,) their squared norms.
    """

    x: Float[np.ndarray, "n d"]
    norms: Float[np.ndarray, " n"]

    @classmethod
    def about(
        cls, centre: Float[np.ndarray, " d"], rows: Float[np.ndarray, "n d"], dtype: str
    ) -> CentredRows:
        """Centre rows: far from the origin the products would be large, and their difference lost to rounding.

        Args:
            centre: (d,) subtracted from every row.
            rows: (n, d)
            dtype: The dtype of the result.

        Raises:
            ValueError: If a squared norm overflows `dtype`.
        """
        wide = np.result_type(rows.dtype, dtype)
        x = np.subtract(rows, centre.astype(wide), dtype=wide).astype(dtype, copy=False)
        with np.errstate(over="ignore"):
            norms = np.einsum("ij,ij->i", x, x)
        if not (norms < NORM_HEADROOM * np.finfo(norms.dtype).max).all():
            longest = int(np.abs(x).max(axis=1).argmax())
            raise ValueError(
                f"the embedding of row {longest} is too large to be squared in {dtype}; rescale the embeddings"
            )
        return cls(x, norms)

    def __getitem__(self, rows: slice) -> CentredRows:
        return CentredRows(self.x[rows], self.norms[rows])


def mean_row(rows: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " d"]:
    """Return the mean (d,) in float64, block by block: `rows` may be memory-mapped and large."""
    total: np.ndarray = np.zeros(rows.shape[1])
    for start in range(0, len(rows), 16 * _ROWS):
        total += rows[start : start + 16 * _ROWS].sum(axis=0, dtype=np.float64)
    total /= len(rows)
    return total


def squared_distances(
    a: CentredRows, b: CentredRows, out: Float[np.ndarray, "n m"] | None = None
) -> Float[np.ndarray, "n m"]:
    """Return ‖a_i - b_j‖² for every pair (n, m), in the rows' dtype, in `out` if given."""
    squares: np.ndarray = np.matmul(a.x, b.x.T, out=out)
    near = float(np.sqrt(np.finfo(squares.dtype).eps))

    def work(start: int, stop: int) -> None:
        _finish(squares[start:stop], a.x[start:stop], a.norms[start:stop], b.x, b.norms, near)

    each_block(len(squares), _KERNEL_ROWS, work)
    return squares


def nearest(a: CentredRows, b: CentredRows) -> Int[np.ndarray, " n"]:
    """Return for every row of `a` the index of the nearest row of `b`; among ties up to rounding, the first.

    Which of two equally distant rows is nearer in the last bit depends on the matrix library, and on the row's position
    in a block.
    """
    squares = squared_distances(a, b)
    least = squares.min(axis=1)
    rounding = _ROUNDINGS * np.finfo(squares.dtype).eps
    limit = (least + rounding * a.norms)[:, None] + rounding * b.norms
    first: np.ndarray = (squares <= limit).argmax(axis=1)
    return first


def all_squared_distances(points: CentredRows, callback: Callback) -> Float[np.ndarray, "n n"]:
    """Return the symmetric matrix of all squared distances (n, n); only its lower half is multiplied out."""
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
