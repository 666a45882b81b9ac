"""What a model said of every example: the record between inference and discovery."""

from weakspot.predictions.record import Predictions

__all__ = ["Predictions"]
