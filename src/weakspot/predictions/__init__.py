"""The Predictions record: a model's outputs for every example, which inference makes and discovery reads."""

from weakspot.predictions.record import Predictions

__all__ = ["Predictions"]
