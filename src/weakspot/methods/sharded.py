"""Rows that are spread over the processes of a torch.distributed group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from weakspot.methods.distributed import Anything, Values


class Sharded:
    """Each process of the default group holds some of the rows."""

    def __init__(self) -> None:
        if not (dist.is_available() and dist.is_initialized()):
            raise ValueError(
                "sharded=True needs torch.distributed: call init_process_group first, or start with torchrun"
            )
        self.size, self.rank = dist.get_world_size(), dist.get_rank()
        on_gpu = dist.get_backend() == "nccl"
        self.device = torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")

    def sum(self, values: Values) -> Values:
        return self._reduced(values, dist.ReduceOp.SUM)

    def largest(self, values: Values) -> Values:
        return self._reduced(values, dist.ReduceOp.MAX)

    def _reduced(self, values: Values, operation: dist.ReduceOp.RedOpType) -> Values:
        there: Tensor = self._there(values)
        dist.all_reduce(there, op=operation)
        return _back(there, values)

    def gather(self, rows: Values) -> Values:
        lengths = self._lengths(len(rows))
        if not max(lengths):
            return rows
        there: Tensor = self._there(rows)
        padded = there.new_zeros((max(lengths), *there.shape[1:]))
        padded[: len(there)] = there
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(parts, padded)
        return _back(torch.cat([part[:n] for part, n in zip(parts, lengths, strict=True)]), rows)

    def before(self, n: int) -> int:
        return sum(self._lengths(n)[: self.rank])

    def first(self, compute: Callable[[], Anything]) -> Anything:
        box: list[Any] = [compute() if self.rank == 0 else None]
        dist.broadcast_object_list(box, device=self.device)
        found: Anything = box[0]
        return found

    def _lengths(self, n: int) -> list[int]:
        lengths = torch.zeros(self.size, dtype=torch.int64)
        lengths[self.rank] = n
        counted: list[int] = self.sum(lengths).tolist()
        return counted

    def _there(self, values: np.ndarray | Tensor) -> Tensor:
        """A copy on the device that the group computes on."""
        if isinstance(values, np.ndarray | np.generic):
            values = torch.from_numpy(np.require(values, requirements=["C", "W"]))
        return values.to(self.device, copy=True)


def _back(there: Tensor, like: Values) -> Values:
    """A result of the kind that was given: an array, or a tensor on the given one's device."""
    if isinstance(like, Tensor):
        return there.to(like.device)
    return there.cpu().numpy()
