"""Explore the reports of all runs in a browser: `python browse.py`. See --help."""

from weakspot.cli import browse

if __name__ == "__main__":
    browse()
