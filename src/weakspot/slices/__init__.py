"""What a method found: weights over examples, their statistics, and what re-applies them to new data."""

from weakspot.slices.record import Slices

__all__ = ["Slices"]
