"""Find where a trained model systematically fails, without anyone labelling groups first.

Names are resolved on first use (PEP 562), so that composing a configuration never pays for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weakspot.findings import Findings as Findings
    from weakspot.methods.scan import Scan as Scan
    from weakspot.methods.spotlight import Spotlight as Spotlight
    from weakspot.methods.udis import UDIS as UDIS
    from weakspot.predictions import Predictions as Predictions
    from weakspot.slices import Slices as Slices

__version__: str
__all__ = ["UDIS", "Findings", "Predictions", "Scan", "Slices", "Spotlight"]

_MODULES = {
    "Findings": "weakspot.findings",
    "Predictions": "weakspot.predictions",
    "Scan": "weakspot.methods.scan",
    "Slices": "weakspot.slices",
    "Spotlight": "weakspot.methods.spotlight",
    "UDIS": "weakspot.methods.udis",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("weakspot")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'weakspot' has no attribute {name!r}; it offers {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])
