"""Sums of distances from some rows to all rows of every cluster, tile by tile, on any device that torch supports."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Num

from weakspot.methods.float32_products import float32_products
from weakspot.methods.udis.distances import CentredRows

_TILE = 2048
_PAIRS = 4096  # pairs of near rows that are subtracted at a time


@dataclass(frozen=True, eq=False)
class DistanceSums:
    """Sums distances to the rows of a record, weighted by their counts.

    Attributes:
        centre: (d,) subtracted from all rows before products.
        dtype: The dtype of the distances; the sums are in float64.
    """

    embeddings: Num[np.ndarray, "n d"]
    rows: Int[np.ndarray, " r"]
    counts: Float[np.ndarray, " r"]
    centre: Float[np.ndarray, " d"]
    dtype: str
    device: torch.device

    @float32_products()
    def of(
        self, some: Int[np.ndarray, " s"], labels: Int[np.ndarray, " r"], k: int
    ) -> Float[np.ndarray, "s k"]:
        """Sum the distances of some rows to each of k clusters.

        Args:
            some: (s,) the rows, by their position among the audited ones.
            labels: (r,) the cluster of every audited row.
            k: The number of clusters.

        Returns:
            (s, k) in float64.
        """
        a, a_norms = self._points(some)
        sums = torch.zeros(k, len(some), dtype=torch.float64, device=self.device)
        near = float(np.sqrt(torch.finfo(a.dtype).eps))
        for start in range(0, len(self.rows), _TILE):
            tile = np.arange(start, min(start + _TILE, len(self.rows)))
            b, b_norms = self._points(tile)
            norms = b_norms[:, None] + a_norms
            squares = torch.addmm(norms, b, a.T, alpha=-2)
            # Where a product nearly cancels, rows are subtracted directly.
            for i, j in torch.split((squares < norms.mul_(near)).nonzero().T, _PAIRS, dim=1):
                squares[i, j] = (b[i] - a[j]).square_().sum(dim=1)
            counts, labels_ = (
                torch.from_numpy(values[tile]).to(self.device) for values in (self.counts, labels)
            )
            sums.index_add_(0, labels_, squares.sqrt_().double().mul_(counts[:, None]))
        return np.ascontiguousarray(sums.T.cpu().numpy())

    def _points(self, some: Int[np.ndarray, " s"]) -> tuple[torch.Tensor, torch.Tensor]:
        points = CentredRows.about(self.centre, self.embeddings[self.rows[some]], self.dtype)
        return torch.from_numpy(points.x).to(self.device), torch.from_numpy(points.norms).to(self.device)
