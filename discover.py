"""Find where a model fails: `python discover.py method=scan dataset=colored_digits`. See --help."""

from weakspot.cli import discover

if __name__ == "__main__":
    discover()
