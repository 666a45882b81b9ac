"""Which clusters may be the nearest of others: lower bounds of Ward distances by matrix products, on any device.

Rounding is part of the bound: whatever order a product is summed in, it is off by no more than its terms, its
factors' rounding, and their sizes allow. So float32 does for the search, and only what it cannot tell apart is looked
at again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from weakspot.methods.float32_products import float32_products
from weakspot.methods.udis.neighbours import LIST, Means, factors
from weakspot.methods.udis.threads import each_block

_ROUNDINGS = 24  # besides those of a sum of d products
_TILE = 8192
_QUERIES = {"cpu": 1024, "cuda": 16_384}  # a GPU waits for tiles unless many queries share them
_KERNEL_ROWS = 256


@dataclass(frozen=True)
class Candidates:
    """Finds the likeliest nearest of some clusters among others."""

    means: Means
    device: torch.device

    def blocks(self, queries: Int[np.ndarray, " q"]) -> list[Int[np.ndarray, " b"]]:
        """As many at a time as one product is made for."""
        size = _QUERIES.get(self.device.type, _QUERIES["cuda"])
        return [queries[start : start + size] for start in range(0, len(queries), size)]

    @float32_products()
    def of(
        self, queries: Int[np.ndarray, " q"], alive: Int[np.ndarray, " m"], dtype: torch.dtype
    ) -> tuple[Int[np.ndarray, "q k"], Float[np.ndarray, "q k"]]:
        """For every query the slots whose lower bounds are least, and these; slot -1 where there are fewer."""
        near, inverse = self._factors(queries, dtype, True)
        place = torch.from_numpy(np.searchsorted(alive, queries)).to(self.device)
        least = torch.empty(len(queries), 0, dtype=dtype, device=self.device)
        slots = torch.empty(len(queries), 0, dtype=torch.int64, device=self.device)
        for start in range(0, len(alive), _TILE):
            tile = alive[start : start + _TILE]
            factors, inverses = self._factors(tile, dtype, False)
            bounds = near @ factors.T
            bounds /= inverse[:, None] + inverses
            own = torch.nonzero((place >= start) & (place < start + len(tile))).ravel()
            bounds[own, place[own] - start] = torch.inf
            nearest, columns = bounds.topk(min(LIST, len(tile)), largest=False, sorted=False)
            least = torch.cat([least, nearest], dim=1)
            slots = torch.cat([slots, columns + start], dim=1)
            if least.shape[1] > LIST:
                least, columns = least.topk(LIST, largest=False, sorted=False)
                slots = slots.gather(1, columns)
        values = least.double().cpu().numpy()
        found = np.full((len(queries), LIST), -1)
        found[:, : slots.shape[1]] = np.where(values < np.inf, alive[slots.cpu().numpy()], -1)
        return found, values

    def _factors(
        self, slots: Int[np.ndarray, " q"], dtype: torch.dtype, asks: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows whose products are lower bounds of squared distances, and half the inverse sizes."""
        d = len(self.means.centre)
        limits = torch.finfo(dtype)
        rows = np.empty((len(slots), d + 2), dtype=np.float32 if dtype == torch.float32 else np.float64)
        rounding, least = (d + _ROUNDINGS) * limits.eps, (d + _ROUNDINGS) * limits.tiny

        def work(start: int, stop: int) -> None:
            factors(self.means, slots[start:stop], rows[start:stop], 1 - rounding, least, asks)

        each_block(len(slots), _KERNEL_ROWS, work)
        halves = torch.from_numpy(0.5 / self.means.sizes[slots])
        return torch.from_numpy(rows).to(self.device), halves.to(self.device, dtype)
