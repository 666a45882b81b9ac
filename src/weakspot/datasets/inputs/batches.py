"""The settings of data loading, checked without importing torch."""

from __future__ import annotations


def check_batches(batch_size: int, num_workers: int | None) -> None:
    """Raise ValueError if `batch_size` is below 1 or `num_workers` below 0."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    if num_workers is not None and num_workers < 0:
        raise ValueError(f"num_workers must be 0 (load in the main process) or more, not {num_workers}")
