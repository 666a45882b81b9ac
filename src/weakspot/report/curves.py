"""Makes curves as SVG paths in a 100 × 100 box, which the page stretches; the axes are written beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

_POINTS = 300  # of a curve, at most
_DRAWN = ("objective", "size")


@dataclass(frozen=True)
class Curve:
    """Holds one curve.

    Attributes:
        name: Its name.
        path: The SVG path.
        low, high: The range of its values.
        first, last: Where it starts and ends.
        final: Its last value.
    """

    name: str
    path: str
    low: float
    high: float
    first: int
    last: int
    final: float


def search_curves(search: Mapping[str, Sequence[tuple[int, float]]]) -> list[Curve]:
    """Return the curves of the objective and the size over the steps; a curve of fewer than two values is left out."""
    drawn = (_over_steps(name, search[name]) for name in _DRAWN if name in search)
    return [figure for figure in drawn if figure is not None]


def _over_steps(name: str, points: Sequence[tuple[int, float]]) -> Curve | None:
    steps, values = (
        (np.array(column) for column in zip(*points, strict=True)) if points else (np.empty(0),) * 2
    )
    return curve(name, steps + 1, values)


def curve(name: str, places: np.ndarray, values: np.ndarray) -> Curve | None:
    """Draw values (m,) over ascending integer positions (m,), in at most 300 points, including the first and last."""
    y = np.asarray(values, dtype=np.float64)
    finite = np.flatnonzero(np.isfinite(y))
    if len(finite) < 2:
        return None
    kept = finite[np.unique(np.linspace(0, len(finite) - 1, min(len(finite), _POINTS)).round().astype(int))]
    low, high = float(y[kept].min()), float(y[kept].max())
    across = 100 * (places[kept] - places[0]) / (places[-1] - places[0])
    down = 100 * (high - y[kept]) / (high - low) if high > low else np.full(len(kept), 50.0)
    points = " ".join(f"{a:.2f},{b:.2f}" for a, b in zip(across, down, strict=True))
    return Curve(name, f"M{points}", low, high, int(places[0]), int(places[-1]), float(y[finite[-1]]))


def cut_curve(scores: Sequence[tuple[int, float]]) -> Curve | None:
    """Return the curve of the silhouette by the number of clusters."""
    if len(scores) < 2:
        return None
    clusters, values = (np.array(column, dtype=np.float64) for column in zip(*scores, strict=True))
    return curve("silhouette", clusters, values)
