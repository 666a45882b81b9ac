"""The scan statistic of spatial epidemiology, applied to embeddings (Kulldorff, 1997)."""

from weakspot.methods.scan.estimator import Scan

__all__ = ["Scan"]
