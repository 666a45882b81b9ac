"""The range of valid seeds: NumPy's generators accept them, and so do all others."""

from __future__ import annotations

_LARGEST = 2**32 - 1


def check_seed(name: str, seed: int) -> None:
    """Check that a seed is valid.

    Args:
        name: The setting that gives it, such as "method.seed".
        seed: The seed.

    Raises:
        ValueError: The seed is out of range.
    """
    if not 0 <= seed <= _LARGEST:
        raise ValueError(f"{name}={seed} must lie between 0 and {_LARGEST}")
