"""Models, one file per family; `base.py` is their contract. Other modules read weights from files.

A name's module is imported when the name is first used: `weakspot.models.names` must not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from weakspot.lazy_imports import lazy_names

if TYPE_CHECKING:
    from weakspot.identity import digest as digest
    from weakspot.models.base import Model as Model
    from weakspot.models.checkpoint import load_weights as load_weights
    from weakspot.models.hub import HubModel as HubModel
    from weakspot.models.hub_classifier import HubClassifier as HubClassifier
    from weakspot.models.image_classifier import ImageClassifier as ImageClassifier
    from weakspot.models.matrix_autoencoder import MatrixAutoencoder as MatrixAutoencoder
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
    "HubClassifier",
    "HubModel",
    "ImageClassifier",
    "MatrixAutoencoder",
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

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "HubClassifier": "weakspot.models.hub_classifier",
        "HubModel": "weakspot.models.hub",
        "ImageClassifier": "weakspot.models.image_classifier",
        "MatrixAutoencoder": "weakspot.models.matrix_autoencoder",
        "Model": "weakspot.models.base",
        "NAMES": "weakspot.models.names",
        "QAModel": "weakspot.models.qa",
        "SmallCNN": "weakspot.models.small_cnn",
        "TextClassifier": "weakspot.models.text_classifier",
        "TextEncoder": "weakspot.models.text_encoder",
        "TimmModel": "weakspot.models.timm",
        "TorchvisionModel": "weakspot.models.torchvision",
        "UserModel": "weakspot.models.user",
        "XRayCNN": "weakspot.models.xray_cnn",
        "digest": "weakspot.identity",
        "load_weights": "weakspot.models.checkpoint",
    },
)
