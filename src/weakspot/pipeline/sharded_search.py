"""Sharded searches: the rows are divided among the processes that torchrun or SLURM started."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from weakspot.methods import Method
from weakspot.methods.distributed import ProcessGroup
from weakspot.pipeline.job_shard import JobShard
from weakspot.pipeline.processes import in_process_group


def is_sharded(method: Method) -> bool:
    """Return whether a method divides its rows among processes (`method.sharded=true`)."""
    return bool(method.get_params().get("sharded"))


def check_sharded_search(method: Method, refits: int, command: str) -> None:
    """Check that a sharded search has several processes, and is not to be repeated on parts of the data.

    Args:
        method: Any method, with its settings.
        refits: How often it is to be fitted again.
        command: The command line, starting with the script.

    Raises:
        ValueError: If there is a single process, or `refits` is not 0.
    """
    if not is_sharded(method):
        return
    if not in_process_group():
        raise ValueError(
            "method.sharded=true divides the rows among several processes, and this is a single one; start several: "
            f"torchrun --nproc-per-node=2 {command}"
        )
    if refits:
        raise ValueError(
            f"stability={refits} searches again in one process, and method.sharded=true divides the rows among "
            "several: leave out one of them"
        )


def shard_bounds(held_out: Bool[np.ndarray, " n"], processes: ProcessGroup) -> tuple[int, int]:
    """Return the rows of a process, such that every process has equally many searched rows.

    Args:
        held_out: (n,) the rows that are not searched.
        processes: The group of processes.

    Returns:
        The first row, and the row after the last.

    Raises:
        ValueError: If there are more processes than rows to search.
    """
    searched = np.flatnonzero(~held_out)
    if len(searched) < processes.size:
        raise ValueError(
            f"{processes.size} processes cannot divide the {len(searched)} examples that are searched; start fewer"
        )
    shards = [JobShard(number, processes.size).rows(len(searched)) for number in range(1, processes.size + 1)]
    bounds = [0, *(int(searched[shard.start]) for shard in shards[1:]), len(held_out)]
    return bounds[processes.rank], bounds[processes.rank + 1]
