"""Logs runs and prints them; the only package that knows Weights & Biases."""
