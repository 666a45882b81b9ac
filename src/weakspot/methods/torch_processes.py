"""Rows that are spread over the processes of a torch.distributed group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from weakspot.methods.distributed import Result, Values


class TorchProcesses:
    """Combines values over torch.distributed's default group, each process of which holds some of the rows.

    Raises:
        ValueError: If the group has not been initialised.
    """

    def __init__(self) -> None:
        if not (dist.is_available() and dist.is_initialized()):
            raise ValueError(
                "sharded=True needs torch.distributed: call init_process_group first, or start with torchrun"
            )
        self.size, self.rank = dist.get_world_size(), dist.get_rank()
        on_gpu = dist.get_backend() == "nccl"
        self.device = torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")

    def sum(self, values: Values) -> Values:
        return self._all_reduce(values, dist.ReduceOp.SUM)

    def max(self, values: Values) -> Values:
        return self._all_reduce(values, dist.ReduceOp.MAX)

    def _all_reduce(self, values: Values, operation: dist.ReduceOp.RedOpType) -> Values:
        copy: Tensor = self._to_device(values)
        dist.all_reduce(copy, op=operation)
        return _back(copy, values)

    def gather(self, rows: Values) -> Values:
        lengths = self._lengths(len(rows))
        if not max(lengths):
            return rows
        copy: Tensor = self._to_device(rows)
        padded = copy.new_zeros((max(lengths), *copy.shape[1:]))  # all_gather takes tensors of one shape
        padded[: len(copy)] = copy
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(parts, padded)
        return _back(torch.cat([part[:n] for part, n in zip(parts, lengths, strict=True)]), rows)

    def rows_before(self, n: int) -> int:
        return sum(self._lengths(n)[: self.rank])

    def broadcast(self, compute: Callable[[], Result]) -> Result:
        values: list[Any] = [compute() if self.rank == 0 else None]
        dist.broadcast_object_list(values, device=self.device)
        result: Result = values[0]
        return result

    def _lengths(self, n: int) -> list[int]:
        """Return how many rows each process holds."""
        lengths = torch.zeros(self.size, dtype=torch.int64)
        lengths[self.rank] = n
        counts: list[int] = self.sum(lengths).tolist()
        return counts

    def _to_device(self, values: np.ndarray | Tensor) -> Tensor:
        """Return a copy on the device that the group computes on."""
        if isinstance(values, np.ndarray | np.generic):
            values = torch.from_numpy(np.require(values, requirements=["C", "W"]))
        return values.to(self.device, copy=True)


def _back(result: Tensor, like: Values) -> Values:
    """Convert a result to the type of the input: an array, or a tensor on the input's device."""
    if isinstance(like, Tensor):
        return result.to(like.device)
    return result.cpu().numpy()
