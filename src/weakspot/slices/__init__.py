"""Slices, the result of a method: weights over examples, their statistics, and parameters that apply to new data."""

from weakspot.slices.memberships import Memberships, Weights, as_weights, scatter_memberships
from weakspot.slices.record import Slices
from weakspot.slices.statistics import SliceStatistics
from weakspot.slices.tree import ClusterNode

__all__ = [
    "ClusterNode",
    "Memberships",
    "SliceStatistics",
    "Slices",
    "Weights",
    "as_weights",
    "scatter_memberships",
]
