"""What a model is (`base.py`), one file per family, and how weights are read from files.

Names are resolved on first use (PEP 562): `weakspot.models.names` must cost no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weakspot.identity import digest as digest
    from weakspot.models.base import Model as Model
    from weakspot.models.checkpoint import load_weights as load_weights
    from weakspot.models.image_classifier import ImageClassifier as ImageClassifier
    from weakspot.models.names import NAMES as NAMES
    from weakspot.models.qa import QAModel as QAModel
    from weakspot.models.small_cnn import SmallCNN as SmallCNN
    from weakspot.models.text_classifier import TextClassifier as TextClassifier
    from weakspot.models.text_encoder import TextEncoder as TextEncoder
    from weakspot.models.timm import TimmModel as TimmModel
    from weakspot.models.torchvision import TorchvisionModel as TorchvisionModel
    from weakspot.models.user import UserModel as UserModel
    from weakspot.models.xray_cnn import XRayCNN as XRayCNN

__all__ = [
    "NAMES",
    "ImageClassifier",
    "Model",
    "QAModel",
    "SmallCNN",
    "TextClassifier",
    "TextEncoder",
    "TimmModel",
    "TorchvisionModel",
    "UserModel",
    "XRayCNN",
    "digest",
    "load_weights",
]

_HOMES = {
    "NAMES": "models.names",
    "Model": "models.base",
    "ImageClassifier": "models.image_classifier",
    "SmallCNN": "models.small_cnn",
    "TimmModel": "models.timm",
    "TorchvisionModel": "models.torchvision",
    "UserModel": "models.user",
    "XRayCNN": "models.xray_cnn",
    "QAModel": "models.qa",
    "TextClassifier": "models.text_classifier",
    "TextEncoder": "models.text_encoder",
    "digest": "identity",
    "load_weights": "models.checkpoint",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"weakspot.{_HOMES[name]}"), name)
    raise AttributeError(
        f"module 'weakspot.models' has no attribute {name!r}; it offers {', '.join(__all__)}"
    )


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
