"""The rows of a search, shared out among the processes that torchrun or SLURM started."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from weakspot.methods import Method
from weakspot.methods.distributed import ProcessGroup
from weakspot.pipeline.part import Part
from weakspot.pipeline.ranks import grouped


def is_sharded(method: Method) -> bool:
    return bool(method.get_params().get("sharded"))


def check_shares(method: Method, refits: int, line: str) -> None:
    """Raise ValueError where a sharded search has no processes, or is to be repeated on parts of the data.

    Args:
        method: Any method, with its settings.
        refits: How often it is to be fitted again.
        line: What was typed, from the script on.
    """
    if not is_sharded(method):
        return
    if not grouped():
        raise ValueError(
            "method.sharded=true shares the rows out among several processes, and this is a single one; start them: "
            f"torchrun --nproc-per-node=2 {line}"
        )
    if refits:
        raise ValueError(
            f"stability={refits} searches again in one process, and method.sharded=true shares the rows out among "
            "several: leave out one of them"
        )


def share(held: Bool[np.ndarray, " n"], processes: ProcessGroup) -> tuple[int, int]:
    """The first row of a process's share and the row after its last: every share has equally many searched rows.

    Raises ValueError where there are more processes than rows to search.
    """
    searched = np.flatnonzero(~held)
    if len(searched) < processes.size:
        raise ValueError(
            f"{processes.size} processes cannot share out the {len(searched)} examples that are searched; start fewer"
        )
    parts = [Part(number, processes.size).rows(len(searched)) for number in range(1, processes.size + 1)]
    cuts = [0, *(int(searched[part.start]) for part in parts[1:]), len(held)]
    return cuts[processes.rank], cuts[processes.rank + 1]
