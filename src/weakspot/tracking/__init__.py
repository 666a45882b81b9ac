"""Logs runs and prints them; it is the only package that imports wandb."""
