"""A lasso: a hand-drawn region of a run's map, as written in a URL."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

MAX_CORNERS = 400
"""The most corners of a lasso; lasso.js has the same number."""

_CORNER = re.compile(r"-?[0-9]{1,7},-?[0-9]{1,7}")


@dataclass(frozen=True)
class Lasso:
    """A polygon on the map, with its inside defined by the even-odd rule, as in map.js.

    Attributes:
        corners: At least three corners, in the map's own coordinates.
    """

    corners: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, text: str) -> Lasso:
        """Read a lasso from whole numbers, `x,y;x,y;x,y`.

        Raises:
            ValueError: If the text is not a lasso.
        """
        corner_texts = text.split(";")
        if not 3 <= len(corner_texts) <= MAX_CORNERS or not all(
            _CORNER.fullmatch(corner) for corner in corner_texts
        ):
            raise ValueError(
                f"lasso={text[:60]} is not a part of a map: a lasso has 3 to {MAX_CORNERS} corners, x,y;x,y;x,y. "
                "Draw it again on the map."
            )
        pairs = (corner.split(",") for corner in corner_texts)
        return cls(tuple((int(x), int(y)) for x, y in pairs))

    def __str__(self) -> str:
        return ";".join(f"{x},{y}" for x, y in self.corners)

    def contains(self, points: Float[np.ndarray, "n 2"]) -> Bool[np.ndarray, " n"]:
        """Return which points lie inside.

        Args:
            points: (n, 2) positions on the map; NaN if an example has none.

        Returns:
            (n,) true for points inside; false for NaN.
        """
        corners = np.array(self.corners, dtype=np.float64)
        in_bounds = (points >= corners.min(axis=0)) & (points <= corners.max(axis=0))
        inside: np.ndarray = in_bounds.all(axis=1)
        x, y = points[inside].T
        odd = np.zeros(len(x), dtype=bool)
        for (xa, ya), (xb, yb) in zip(corners, np.roll(corners, 1, axis=0), strict=True):
            if ya != yb:  # a horizontal line crosses no horizontal edge
                odd ^= ((ya > y) != (yb > y)) & (x < (xb - xa) * (y - ya) / (yb - ya) + xa)
        inside[inside] = odd
        return inside
