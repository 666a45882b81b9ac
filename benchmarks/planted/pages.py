"""The output of the benchmarks: means with intervals, and tables in the documentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float


def mean_and_interval(values: Float[np.ndarray, " n"]) -> tuple[float, float, float]:
    """Return the mean over settings, and both ends of its 95 % bootstrap interval."""
    random = np.random.default_rng(0)
    means = values[random.integers(len(values), size=(2000, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def interval(values: Float[np.ndarray, " n"]) -> str:
    """Return the mean and its interval as text: `0.62 [0.51, 0.73]`."""
    mean, low, high = mean_and_interval(values)
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"


def write_between(page: Path, mark: str, text: str) -> None:
    """Write a text between `<!-- mark -->` and `<!-- end of mark -->` of a page."""
    start, stop = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
    whole = page.read_text(encoding="utf-8")
    before, after = whole.index(start) + len(start), whole.index(stop)
    page.write_text(f"{whole[:before]}\n\n{text}\n\n{whole[after:]}", encoding="utf-8")
