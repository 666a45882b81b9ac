"""Explains a slice: which attributes and words its examples share, and where in images the model looked."""
