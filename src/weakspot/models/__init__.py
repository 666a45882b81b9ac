"""What a model is (`base.py`), one file per family, and how weights are read from files.

Names are resolved on first use (PEP 562): `weakspot.models.names` must cost no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weakspot.models.base import Model as Model
    from weakspot.models.checkpoint import digest as digest
    from weakspot.models.checkpoint import load_weights as load_weights
    from weakspot.models.names import NAMES as NAMES
    from weakspot.models.small_cnn import SmallCNN as SmallCNN
    from weakspot.models.torchvision import TorchvisionModel as TorchvisionModel
    from weakspot.models.user import UserModel as UserModel

__all__ = ["NAMES", "Model", "SmallCNN", "TorchvisionModel", "UserModel", "digest", "load_weights"]

_HOMES = {
    "NAMES": "names",
    "Model": "base",
    "SmallCNN": "small_cnn",
    "TorchvisionModel": "torchvision",
    "UserModel": "user",
    "digest": "checkpoint",
    "load_weights": "checkpoint",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"weakspot.models.{_HOMES[name]}"), name)
    raise AttributeError(
        f"module 'weakspot.models' has no attribute {name!r}; it offers {', '.join(__all__)}"
    )


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
