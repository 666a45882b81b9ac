"""Units of the calendar and the clock for grouping moments, from the finest to the coarsest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Shaped


@dataclass(frozen=True)
class CalendarUnit:
    """Describes a span of `size` NumPy time units, counted from 1970 on; weeks begin on Monday.

    Attributes:
        code: NumPy's letter for its time unit.
        size: How many NumPy units make up one span.
        pattern: How many characters of the ISO 8601 notation name a span.
        offset: How many NumPy units before 1970 the first span began.
    """

    code: str
    size: int
    pattern: int
    offset: int = 0

    def number(self, moments: Shaped[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Return the number of the unit that each moment (datetime64) lies in."""
        counted = moments.astype(f"datetime64[{self.code}]").astype(np.int64)
        numbers: np.ndarray = (counted + self.offset) // self.size
        return numbers

    def name(self, number: int, clock: bool = False) -> str:
        """Return `2024-05`, or `2024-04 to 2024-06` for a span of several NumPy units.

        Args:
            number: The unit's number, from `number`.
            clock: Whether the moments are times of day, whose names leave the day out.
        """
        first = number * self.size - self.offset
        ends = np.array([first, first + self.size - 1]).astype(f"datetime64[{self.code}]")
        texts = [str(end)[: self.pattern] for end in ends]
        low, high = (text.partition("T")[2] if clock else text.replace("T", " ") for text in texts)
        if high == low:
            return low or "any time"
        return f"{low} to {high if clock or ' ' not in high else high.partition(' ')[2]}"


def finest_unit(moments: Shaped[np.ndarray, " n"], max_groups: int) -> CalendarUnit:
    """Return the finest unit that makes at most `max_groups` groups of the moments.

    No unit is finer than the moments' own precision: dates are never grouped by seconds.
    """
    own_precision = next(
        (code for code in ("D", "m") if (moments.astype(f"datetime64[{code}]") == moments).all()),
        CALENDAR[0].code,
    )
    start = [unit.code for unit in CALENDAR].index(own_precision)
    fitting = (unit for unit in CALENDAR[start:] if len(np.unique(unit.number(moments))) <= max_groups)
    return next(fitting, CALENDAR[-1])


CALENDAR = (
    CalendarUnit("s", 1, 19),
    CalendarUnit("m", 1, 16),
    CalendarUnit("m", 60, 16),
    CalendarUnit("m", 360, 16),
    CalendarUnit("D", 1, 10),
    CalendarUnit("D", 7, 10, offset=3),
    CalendarUnit("M", 1, 7),
    CalendarUnit("M", 3, 7),
    CalendarUnit("Y", 1, 4, offset=1970),
    CalendarUnit("Y", 10, 4, offset=1970),
    CalendarUnit("Y", 100, 4, offset=1970),
    CalendarUnit("Y", 1000, 4, offset=1970),
)
