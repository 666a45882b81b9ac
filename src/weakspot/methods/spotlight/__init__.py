"""The Spotlight (d'Eon et al., FAccT 2022, arXiv:2107.00758): the regions of embedding space where losses are high."""

from weakspot.methods.spotlight.estimator import Spotlight
from weakspot.methods.spotlight.kernel import membership

__all__ = ["Spotlight", "membership"]
