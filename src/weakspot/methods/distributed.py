"""Process groups: the rows are all in this process, or spread over the processes of a torch.distributed group.

From rows in other processes a search needs only a sum, a maximum, a column of numbers or a few rows. A sharded search
is therefore the ordinary one with these taken over the group, and all processes take the same steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from jaxtyping import Float, Int, Num

from weakspot.predictions import Predictions

if TYPE_CHECKING:
    from torch import Tensor

# torch takes a second to import, and a search in one process does not need it.

Values = TypeVar("Values", np.ndarray, "Tensor")
Result = TypeVar("Result")


class ProcessGroup(Protocol):
    """Combines values over the processes that hold the rows.

    Attributes:
        size: The number of processes.
        rank: The number of this process, from 0.
    """

    size: int
    rank: int

    def sum(self, values: Values) -> Values:
        """Return the elementwise sum over all processes, in every process."""

    def max(self, values: Values) -> Values:
        """Return the elementwise maximum over all processes, in every process."""

    def gather(self, rows: Values) -> Values:
        """Return the rows (a, …) of all processes, concatenated in the order of ranks."""

    def rows_before(self, n: int) -> int:
        """Return how many rows the processes before this one hold; this one holds n."""

    def broadcast(self, compute: Callable[[], Result]) -> Result:
        """Return the result of the first process in every process: another processor may round differently."""


class SingleProcess:
    """Holds all rows in this process."""

    size, rank = 1, 0

    def sum(self, values: Values) -> Values:
        return values

    def max(self, values: Values) -> Values:
        return values

    def gather(self, rows: Values) -> Values:
        return rows

    def rows_before(self, n: int) -> int:
        return 0

    def broadcast(self, compute: Callable[[], Result]) -> Result:
        return compute()


SINGLE_PROCESS = SingleProcess()


def process_group(sharded: bool) -> ProcessGroup:
    """Return torch.distributed's default group if rows are sharded, else this process alone.

    Raises:
        ValueError: If rows are sharded and there is no such group.
    """
    if not sharded:
        return SINGLE_PROCESS
    from weakspot.methods.torch_processes import TorchProcesses

    return TorchProcesses()


def check_same_fields(p: Predictions, processes: ProcessGroup) -> None:
    """Check that the predictions of all processes have the same fields; otherwise the processes would deadlock.

    Raises:
        ValueError: In all processes, if the width of the embeddings or the available fields differ.
    """
    known = (p.labels, p.outputs, p.losses, p.correct)
    kinds = processes.gather(
        np.array([[p.embeddings.shape[1], *(values is not None for values in known)]], dtype=np.int64)
    )
    if (kinds != kinds[0]).any():
        raise ValueError(
            "the processes' predictions differ in the width of their embeddings, or in whether they hold labels, "
            f"outputs, losses and correctness: {kinds.tolist()}; give all processes rows of one record"
        )


def local_rows(
    rows: Int[np.ndarray, " m"], n: int, processes: ProcessGroup
) -> tuple[Int[np.ndarray, " h"], Int[np.ndarray, " h"]]:
    """Find which of the given rows this process holds.

    Args:
        rows: (m,) row numbers over all processes.
        n: How many rows this process holds.
        processes: The processes.

    Returns:
        (h,) the positions in `rows` of those held here, and (h,) their row numbers in this process.
    """
    own = rows - processes.rows_before(n)
    positions = np.flatnonzero((own >= 0) & (own < n))
    return positions, own[positions]


def gather_rows(
    x: Num[np.ndarray, "h d"], positions: Int[np.ndarray, " h"], m: int, processes: ProcessGroup
) -> Float[np.ndarray, "m d"]:
    """Collect rows from all processes in every process.

    Args:
        x: (h, d) the rows that this process holds.
        positions: (h,) the position of each in the result.
        m: The total number of rows.
        processes: The processes.

    Returns:
        (m, d) the rows.
    """
    out = np.zeros((m, x.shape[1]))
    out[positions] = x
    return processes.sum(out)
