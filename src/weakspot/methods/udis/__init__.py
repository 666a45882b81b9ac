"""UDIS (Krishnakumar et al., BMVC 2021): clusters of embedding space in which a model fails."""

from weakspot.methods.udis.estimator import UDIS
from weakspot.methods.udis.membership import membership

__all__ = ["UDIS", "membership"]
