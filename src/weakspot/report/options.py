"""How much a report shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ReportOptions:
    """How much a report shows (`report.…` on the command line).

    Attributes:
        members: How many members of each finding and slice are shown; "all" unfolds the others below these.
        examples: "top" keeps the page below 5 MB, with the images that a reader looks at first; "all" below 25 MB.

    Raises:
        ValueError: If a value is none of these.
    """

    members: int | Literal["all"] = 24
    examples: Literal["top", "all"] = "top"

    def __post_init__(self) -> None:
        if self.members != "all" and not (type(self.members) is int and self.members >= 1):
            raise ValueError(f"report.members={self.members} must be a number from 1 on, or all")
        if self.examples not in ("top", "all"):
            raise ValueError(f"report.examples={self.examples} must be top or all")
