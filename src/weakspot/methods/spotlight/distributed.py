"""Where the rows are: all here, or spread over the processes of a torch.distributed group.

Everything a search needs from rows it does not hold is a sum, a largest value or a handful of rows, so a
sharded search is the plain one with these three reduced over the group. All ranks then take the same steps.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor


class World(Protocol):
    size: int

    def sum(self, values: Tensor) -> Tensor: ...

    def largest(self, values: Tensor) -> Tensor: ...

    def gather(self, rows: Tensor) -> Tensor:
        """The rows (a, d) of every process, one after the other."""


class Alone:
    """All rows are here."""

    size = 1

    def sum(self, values: Tensor) -> Tensor:
        return values

    def largest(self, values: Tensor) -> Tensor:
        return values

    def gather(self, rows: Tensor) -> Tensor:
        return rows


class Sharded:
    """Each process of the default group holds some of the rows."""

    def __init__(self, device: torch.device) -> None:
        if not (dist.is_available() and dist.is_initialized()):
            raise ValueError(
                "sharded=True needs torch.distributed: call init_process_group first, or start with torchrun"
            )
        self.size = dist.get_world_size()
        self.device = device

    def sum(self, values: Tensor) -> Tensor:
        return self._reduced(values, dist.ReduceOp.SUM)

    def largest(self, values: Tensor) -> Tensor:
        return self._reduced(values, dist.ReduceOp.MAX)

    def _reduced(self, values: Tensor, operation: dist.ReduceOp.RedOpType) -> Tensor:
        there = values.to(self.device, copy=True)
        dist.all_reduce(there, op=operation)
        return there.to(values.device)

    def gather(self, rows: Tensor) -> Tensor:
        lengths = torch.zeros(self.size, dtype=torch.int64, device=rows.device)
        lengths[dist.get_rank()] = len(rows)
        lengths = self.sum(lengths)
        padded = rows.new_zeros((int(lengths.max()), *rows.shape[1:]))
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(parts, padded)
        return torch.cat([part[:length] for part, length in zip(parts, lengths.tolist(), strict=True)])
