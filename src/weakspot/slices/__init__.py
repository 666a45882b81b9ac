"""What a method found: weights over examples, their statistics, and what re-applies them to new data."""

from weakspot.slices.memberships import Memberships, Weights, as_weights, placed
from weakspot.slices.record import Slices
from weakspot.slices.statistics import SliceStatistics
from weakspot.slices.tree import ClusterNode

__all__ = ["ClusterNode", "Memberships", "SliceStatistics", "Slices", "Weights", "as_weights", "placed"]
