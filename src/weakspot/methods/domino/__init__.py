"""Domino: an error-aware mixture (Eyuboglu et al., ICLR 2022)."""

from weakspot.methods.domino.estimator import Domino

__all__ = ["Domino"]
