"""Checks of a method's settings, before anything is computed."""

from __future__ import annotations

from inspect import signature

import numpy as np

from weakspot.methods.base import Method


def check_at_least(method: Method, **least: float) -> None:
    """Check that settings are numbers of at least given limits, and whole if the constructor declares an `int`.

    Args:
        method: The method.
        least: The smallest value of each setting, by its name.

    Raises:
        ValueError: For the first invalid setting.
    """
    declared = signature(type(method)).parameters
    for name, limit in least.items():
        value = getattr(method, name)
        whole = declared[name].annotation == "int"
        number = isinstance(value, int | np.integer) if whole else isinstance(value, int | float | np.number)
        if not number or isinstance(value, bool) or not limit <= value < np.inf:
            kind = "a whole number of " if whole else ""
            raise ValueError(f"{name}={value!r} must be {kind}at least {limit:g}")


def check_share(share: float) -> None:
    """Raise ValueError unless a share leaves examples on both sides."""
    if not 0 < share < 1:
        raise ValueError(f"share={share} must lie between 0 and 1")


def check_at_most_examples(method: Method, name: str, n: float) -> None:
    """Raise ValueError if the named setting asks for more groups than there are examples."""
    if getattr(method, name) > n:
        raise ValueError(f"{name}={getattr(method, name)} is more than the number of examples ({n:.10g})")
