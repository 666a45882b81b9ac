"""Predictions, the record of a model's outputs for every example, which stands between inference and discovery."""

from weakspot.predictions.record import Predictions

__all__ = ["Predictions"]
