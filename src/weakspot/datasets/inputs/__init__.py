"""Turns images and texts into model inputs."""
