"""Units of the calendar and the clock that moments are grouped by, from the finest to the coarsest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Shaped


@dataclass(frozen=True)
class Unit:
    """So many of NumPy's units of time, counted from 1970 on; weeks begin on Monday.

    pattern   how much of ISO 8601's notation names one of them
    """

    code: str
    size: int
    pattern: int
    offset: int = 0

    def number(self, moments: Shaped[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Which unit each moment (datetime64) lies in."""
        counted = moments.astype(f"datetime64[{self.code}]").astype(np.int64)
        numbers: np.ndarray = (counted + self.offset) // self.size
        return numbers

    def name(self, number: int, clock: bool = False) -> str:
        """`2024-05`, or where several of NumPy's units make one, `2024-04 to 2024-06`; on a clock without the day."""
        first = number * self.size - self.offset
        ends = np.array([first, first + self.size - 1]).astype(f"datetime64[{self.code}]")
        texts = [str(end)[: self.pattern] for end in ends]
        low, high = (text.partition("T")[2] if clock else text.replace("T", " ") for text in texts)
        if high == low:
            return low or "any time"
        return f"{low} to {high if clock or ' ' not in high else high.partition(' ')[2]}"


def finest(moments: Shaped[np.ndarray, " n"], most: int) -> Unit:
    """The finest unit that groups the moments into at most so many, but none finer than they were written in."""
    written = next(
        (code for code in ("D", "m") if (moments.astype(f"datetime64[{code}]") == moments).all()),
        CALENDAR[0].code,
    )
    start = [unit.code for unit in CALENDAR].index(written)
    fits = (unit for unit in CALENDAR[start:] if len(np.unique(unit.number(moments))) <= most)
    return next(fits, CALENDAR[-1])


CALENDAR = (
    Unit("s", 1, 19),
    Unit("m", 1, 16),
    Unit("m", 60, 16),
    Unit("m", 360, 16),
    Unit("D", 1, 10),
    Unit("D", 7, 10, offset=3),
    Unit("M", 1, 7),
    Unit("M", 3, 7),
    Unit("Y", 1, 4, offset=1970),
    Unit("Y", 10, 4, offset=1970),
    Unit("Y", 100, 4, offset=1970),
    Unit("Y", 1000, 4, offset=1970),
)
