"""Names that a package offers but imports only on first use (PEP 562), so that its start-up stays fast."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make the `__getattr__` and the `__dir__` of a package from the modules that its names are defined in.

    Args:
        package: The package's own `__name__`.
        modules: Each offered name's module, by its full import path.

    Returns:
        The two functions, to be assigned in the package's `__init__.py`.
    """

    def get(name: str) -> Any:
        if name in modules:
            return getattr(import_module(modules[name]), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}; it offers {', '.join(modules)}")

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *modules})

    return get, names
