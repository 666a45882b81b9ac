"""Boxes in images as four attributes: x, y, width and height in pixels, from the upper left corner."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

NAMES = ("box.x", "box.y", "box.width", "box.height")
"""The attributes of a box; a column `box` of structs {x, y, width, height} becomes these automatically."""


def box_columns(box: Any) -> dict[str, pa.Array]:
    """Return a column of lists [x, y, width, height] as four columns; null where a row has no box.

    Args:
        box: A column of lists, or (n, 4).

    Raises:
        ValueError: A row holds something else; the error names the row.
    """
    rows = box.tolist() if isinstance(box, np.ndarray) else box.to_pylist()
    for row, value in enumerate(rows):
        if value is not None and not is_box(value):
            raise ValueError(
                f"'box' is {str(value)[:60]} in row {row}; give [x, y, width, height] in pixels, or null"
            )
    filled = [value or (None,) * len(NAMES) for value in rows]
    return {name: pa.array([value[at] for value in filled], pa.float64()) for at, name in enumerate(NAMES)}


def is_box(value: Sequence[Any]) -> bool:
    """Return whether these are four finite numbers, width and height above 0."""
    return (
        len(value) == len(NAMES)
        and all(isinstance(number, int | float) and math.isfinite(number) for number in value)
        and value[2] > 0
        and value[3] > 0
    )
