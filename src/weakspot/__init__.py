"""Find where a trained model systematically fails, without anyone labelling groups first.

Names are resolved on first use (PEP 562), so that composing a configuration does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weakspot.findings import Findings as Findings
    from weakspot.methods import UDIS as UDIS
    from weakspot.methods import Barlow as Barlow
    from weakspot.methods import Confusion as Confusion
    from weakspot.methods import Domino as Domino
    from weakspot.methods import George as George
    from weakspot.methods import Gmm as Gmm
    from weakspot.methods import Kmeans as Kmeans
    from weakspot.methods import Multiaccuracy as Multiaccuracy
    from weakspot.methods import PlaneSpot as PlaneSpot
    from weakspot.methods import Random as Random
    from weakspot.methods import Rules as Rules
    from weakspot.methods import Scan as Scan
    from weakspot.methods import Spotlight as Spotlight
    from weakspot.methods import TopLoss as TopLoss
    from weakspot.predictions import Predictions as Predictions
    from weakspot.slices import Slices as Slices

__version__: str
_METHODS = (
    "Barlow",
    "Confusion",
    "Domino",
    "George",
    "Gmm",
    "Kmeans",
    "Multiaccuracy",
    "PlaneSpot",
    "Random",
    "Rules",
    "Scan",
    "Spotlight",
    "TopLoss",
    "UDIS",
)
_MODULES = {
    "Findings": "weakspot.findings",
    "Predictions": "weakspot.predictions",
    "Slices": "weakspot.slices",
} | dict.fromkeys(_METHODS, "weakspot.methods")
__all__ = [*_MODULES]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("weakspot")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'weakspot' has no attribute {name!r}; it offers {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])
