"""How a dataset can be served."""

from __future__ import annotations


def check_batches(batch_size: int, num_workers: int | None) -> None:
    """Raise ValueError for batches that hold nothing, or fewer than no processes to load them."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    if num_workers is not None and num_workers < 0:
        raise ValueError(f"num_workers must be 0 (load in the main process) or more, not {num_workers}")
