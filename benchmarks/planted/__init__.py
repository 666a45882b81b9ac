"""Planted slices: settings whose failing group is known, and how well each method finds it."""
