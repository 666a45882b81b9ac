"""Candidates for nearest clusters: lower bounds of Ward distances by matrix products, on any device.

The bounds allow for rounding, whatever the order of summation. So float32 suffices for the search, and only clusters
that it cannot distinguish are compared again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from weakspot.methods.float32_products import float32_products
from weakspot.methods.udis.neighbours import LIST_LENGTH, ClusterMeans, bound_factors
from weakspot.methods.udis.row_blocks import each_block

_ROUNDINGS = 24  # allowed for, besides those of a sum of d products
_TILE = 8192
_QUERIES = {"cpu": 1024, "cuda": 16_384}  # a GPU waits for tiles unless many queries share them
_KERNEL_ROWS = 256


@dataclass(frozen=True)
class NeighbourCandidates:
    """Finds the clusters that may be the nearest ones of given clusters.

    Attributes:
        means: The clusters' means and sizes.
        device: Where the products are computed.
    """

    means: ClusterMeans
    device: torch.device

    def blocks(self, queries: Int[np.ndarray, " q"]) -> list[Int[np.ndarray, " b"]]:
        """Split the queries into blocks, one product each."""
        size = _QUERIES.get(self.device.type, _QUERIES["cuda"])
        return [queries[start : start + size] for start in range(0, len(queries), size)]

    @float32_products()
    def of(
        self, queries: Int[np.ndarray, " q"], alive: Int[np.ndarray, " m"], dtype: torch.dtype
    ) -> tuple[Int[np.ndarray, "q k"], Float[np.ndarray, "q k"]]:
        """Find, for every query, the clusters with the least lower bounds.

        Args:
            queries: (q,) slots of clusters.
            alive: (m,) the slots of all clusters.
            dtype: The dtype of the products.

        Returns:
            (q, k) slots, -1 where there are fewer, and (q, k) their lower bounds.
        """
        near, inverse = self._factors(queries, dtype, True)
        position = torch.from_numpy(np.searchsorted(alive, queries)).to(self.device)
        least = torch.empty(len(queries), 0, dtype=dtype, device=self.device)
        slots = torch.empty(len(queries), 0, dtype=torch.int64, device=self.device)
        for start in range(0, len(alive), _TILE):
            tile = alive[start : start + _TILE]
            bound_factors, inverses = self._factors(tile, dtype, False)
            bounds = near @ bound_factors.T
            bounds /= inverse[:, None] + inverses
            own = torch.nonzero((position >= start) & (position < start + len(tile))).ravel()
            bounds[own, position[own] - start] = torch.inf
            nearest, columns = bounds.topk(min(LIST_LENGTH, len(tile)), largest=False, sorted=False)
            least = torch.cat([least, nearest], dim=1)
            slots = torch.cat([slots, columns + start], dim=1)
            if least.shape[1] > LIST_LENGTH:
                least, columns = least.topk(LIST_LENGTH, largest=False, sorted=False)
                slots = slots.gather(1, columns)
        values = least.double().cpu().numpy()
        found = np.full((len(queries), LIST_LENGTH), -1)
        found[:, : slots.shape[1]] = np.where(values < np.inf, alive[slots.cpu().numpy()], -1)
        return found, values

    def _factors(
        self, slots: Int[np.ndarray, " q"], dtype: torch.dtype, is_query: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return rows whose products are lower bounds of squared distances, and half the inverse sizes."""
        d = len(self.means.centre)
        limits = torch.finfo(dtype)
        rows = np.empty((len(slots), d + 2), dtype=np.float32 if dtype == torch.float32 else np.float64)
        rounding, least = (d + _ROUNDINGS) * limits.eps, (d + _ROUNDINGS) * limits.tiny

        def work(start: int, stop: int) -> None:
            bound_factors(self.means, slots[start:stop], rows[start:stop], 1 - rounding, least, is_query)

        each_block(len(slots), _KERNEL_ROWS, work)
        halves = torch.from_numpy(0.5 / self.means.sizes[slots])
        return torch.from_numpy(rows).to(self.device), halves.to(self.device, dtype)
