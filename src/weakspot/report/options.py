"""The options of a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from weakspot.findings.map import KINDS, MapKind


@dataclass(frozen=True)
class ReportOptions:
    """How much a report shows (`report.…` on the command line).

    Attributes:
        members: How many members of each finding and slice are shown; with "all" the others can be unfolded below.
        examples: "top" keeps the page below 5 MB, with the images that a reader looks at first; "all" below 25 MB.
        map: How examples are placed on the map; "none" draws no map.

    Raises:
        ValueError: If an option has another value.
    """

    members: int | Literal["all"] = 24
    examples: Literal["top", "all"] = "top"
    map: MapKind = "pca"

    @property
    def more_room_hint(self) -> str:
        """A sentence that says where to find what does not fit on a page with these options."""
        if self.examples == "top":
            return "A page with report.examples=all has room for more; the run’s folder holds all numbers."
        if self.members == "all":
            return "A page with report.members=24 has room for more; the run’s folder holds all numbers."
        return "The run’s folder holds all numbers."

    def __post_init__(self) -> None:
        if self.members != "all" and not (type(self.members) is int and self.members >= 1):
            raise ValueError(f"report.members={self.members} must be a number from 1 on, or all")
        if self.examples not in ("top", "all"):
            raise ValueError(f"report.examples={self.examples} must be top or all")
        if self.map not in KINDS:
            raise ValueError(f"report.map={self.map} must be pca, umap, pacmap or none")
