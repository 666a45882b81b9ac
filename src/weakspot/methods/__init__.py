"""Discovery methods: arrays in, slices out. They are independent of Hydra, Lightning, W&B and files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weakspot.lazy_imports import lazy_names
from weakspot.methods.base import AuditedRows, Method
from weakspot.methods.registry import apply, audit_of, find, method_of, weights_of, words

if TYPE_CHECKING:
    from weakspot.methods.barlow import Barlow as Barlow
    from weakspot.methods.confusion import Confusion as Confusion
    from weakspot.methods.domino import Domino as Domino
    from weakspot.methods.george import George as George
    from weakspot.methods.gmm import Gmm as Gmm
    from weakspot.methods.kmeans import Kmeans as Kmeans
    from weakspot.methods.multiaccuracy import Multiaccuracy as Multiaccuracy
    from weakspot.methods.planespot import PlaneSpot as PlaneSpot
    from weakspot.methods.random import Random as Random
    from weakspot.methods.rules import Rules as Rules
    from weakspot.methods.scan import Scan as Scan
    from weakspot.methods.spotlight import Spotlight as Spotlight
    from weakspot.methods.top_loss import TopLoss as TopLoss
    from weakspot.methods.udis import UDIS as UDIS

__all__ = ["AuditedRows", "Method", "apply", "audit_of", "find", "method_of", "weights_of", "words"]

_CLASSES = {
    "Barlow": "weakspot.methods.barlow",
    "Confusion": "weakspot.methods.confusion",
    "Domino": "weakspot.methods.domino",
    "George": "weakspot.methods.george",
    "Gmm": "weakspot.methods.gmm",
    "Kmeans": "weakspot.methods.kmeans",
    "Multiaccuracy": "weakspot.methods.multiaccuracy",
    "PlaneSpot": "weakspot.methods.planespot",
    "Random": "weakspot.methods.random",
    "Rules": "weakspot.methods.rules",
    "Scan": "weakspot.methods.scan",
    "Spotlight": "weakspot.methods.spotlight",
    "TopLoss": "weakspot.methods.top_loss",
    "UDIS": "weakspot.methods.udis",
}
__all__ += _CLASSES

# a method's module is imported when its class is first used
__getattr__, __dir__ = lazy_names(__name__, _CLASSES)
