"""Planted slices: settings of which the failing group is known, and how well each method finds it."""
