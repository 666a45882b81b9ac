"""Datasets, one file each, and the data module that serves any of them."""
