"""A part of a run's map that was drawn by hand, as an address says it, and what lies in it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

MOST_CORNERS = 400
"""Of a lasso; lasso.js keeps to it."""

_CORNER = re.compile(r"-?[0-9]{1,7},-?[0-9]{1,7}")


@dataclass(frozen=True)
class Lasso:
    """A polygon on the map, its inside by the even-odd rule, as map.js has it.

    Attributes:
        corners: In the map's own coordinates, at least three.
    """

    corners: tuple[tuple[int, int], ...]

    @classmethod
    def read(cls, text: str) -> Lasso:
        """`x,y;x,y;x,y`, whole numbers.

        Raises:
            ValueError: Where it is none.
        """
        found = text.split(";")
        if not 3 <= len(found) <= MOST_CORNERS or not all(_CORNER.fullmatch(one) for one in found):
            raise ValueError(
                f"lasso={text[:60]} is no part of a map: it has 3 to {MOST_CORNERS} corners, x,y;x,y;x,y. "
                "Draw it anew on the map."
            )
        corners = (one.split(",") for one in found)
        return cls(tuple((int(x), int(y)) for x, y in corners))

    def __str__(self) -> str:
        return ";".join(f"{x},{y}" for x, y in self.corners)

    def holds(self, at: Float[np.ndarray, "n 2"]) -> Bool[np.ndarray, " n"]:
        """Which points lie inside; those that have no place (NaN) do not."""
        corners = np.array(self.corners, dtype=np.float64)
        near = (at >= corners.min(axis=0)) & (at <= corners.max(axis=0))
        inside: np.ndarray = near.all(axis=1)
        x, y = at[inside].T
        odd = np.zeros(len(x), dtype=bool)
        for (xa, ya), (xb, yb) in zip(corners, np.roll(corners, 1, axis=0), strict=True):
            if ya != yb:  # a level edge is crossed by no level line
                odd ^= ((ya > y) != (yb > y)) & (x < (xb - xa) * (y - ya) / (yb - ya) + xa)
        inside[inside] = odd
        return inside
