"""What a run writes besides its slices and findings, and the command line that the findings record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from weakspot.report.options import ReportOptions

if TYPE_CHECKING:
    from weakspot.tracking.loggers import RunLogger


@dataclass(frozen=True, kw_only=True)
class RunOutputs:
    """What a run writes besides its slices and findings.

    Attributes:
        report: How much the report shows.
        logger: The run's logger (`weakspot.tracking.loggers`) or any Lightning logger, which receives only the numbers.
        export: "parquet" to write every example to a table that other viewers read; None to write none.
        figures: pdf, png or svg to draw figures for papers; None to draw none.
        command: The command line that was typed; the findings record it.
    """

    report: ReportOptions = field(default_factory=ReportOptions)
    logger: RunLogger | None = None
    export: str | None = None
    figures: str | None = None
    command: str = ""
