"""The Spotlight: regions of embedding space where losses are high (d'Eon et al., arXiv:2107.00758)."""

from weakspot.methods.spotlight.estimator import Spotlight
from weakspot.methods.spotlight.kernel import membership

__all__ = ["Spotlight", "membership"]
