"""Curves as SVG paths in a 100 × 100 box; the page stretches the box and writes the axes beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

_POINTS = 300
_DRAWN = ("objective", "size")


@dataclass(frozen=True)
class Curve:
    """One series of a search's history: its path, the range of its values, its first and last step."""

    name: str
    path: str
    low: float
    high: float
    final: float
    steps: int


def curves(history: Mapping[str, np.ndarray]) -> list[Curve]:
    """The curves of the objective and the size, in 300 points; one without two finite values is left out."""
    drawn = (curve(name, np.asarray(history[name], dtype=np.float64)) for name in _DRAWN if name in history)
    return [figure for figure in drawn if figure is not None]


def curve(name: str, values: np.ndarray) -> Curve | None:
    """Values (steps,) as a path; the first and the last finite value are always kept."""
    steps = np.flatnonzero(np.isfinite(values))
    if len(steps) < 2:
        return None
    kept = steps[np.unique(np.linspace(0, len(steps) - 1, min(len(steps), _POINTS)).round().astype(int))]
    y = values[kept]
    low, high = float(y.min()), float(y.max())
    span = high - low or 1.0
    across = 100 * kept / max(len(values) - 1, 1)
    down = 100 - 100 * (y - low) / span if high > low else np.full(len(y), 50.0)
    points = " ".join(f"{a:.2f},{b:.2f}" for a, b in zip(across, down, strict=True))
    return Curve(name, f"M{points}", low, high, float(values[steps[-1]]), len(values))
