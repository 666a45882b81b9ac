"""The seeds that there are: a generator of NumPy's takes them, and so does every other."""

from __future__ import annotations

_LARGEST = 2**32 - 1


def check_seed(name: str, seed: int) -> None:
    """Check that there is such a seed.

    Args:
        name: The setting that gives it, such as "method.seed".
        seed: The seed.

    Raises:
        ValueError: There is none.
    """
    if not 0 <= seed <= _LARGEST:
        raise ValueError(f"{name}={seed} must lie between 0 and {_LARGEST}")
