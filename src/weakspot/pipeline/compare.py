"""Compares two runs and writes the page and the file that list which slices are fixed, persisting or new."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from weakspot.findings.compare_slices import compare_slices
from weakspot.findings.comparison import PAGE, Comparison
from weakspot.findings.runs_to_compare import RunToCompare
from weakspot.predictions.atomic_files import RUN_FOLDER, atomic_file, writing
from weakspot.report.compare import render_comparison
from weakspot.tracking.console import comparison_summary, output_console
from weakspot.tracking.log import log_comparison

if TYPE_CHECKING:
    from weakspot.tracking.loggers import RunLogger

log = logging.getLogger(__name__)


def compare_runs(
    before: RunToCompare,
    after: RunToCompare,
    folder: Path,
    *,
    logger: RunLogger | None = None,
    command: str = "",
    seed: int = 0,
) -> Comparison:
    """Compare two runs, and write `compare.html` and `compare.json`; each appears completely or not at all.

    Args:
        before: The earlier run, or the baseline.
        after: The later run.
        folder: The folder of the comparison.
        logger: The run's logger (`weakspot.tracking.loggers`), or any Lightning logger, which receives only
            the numbers.
        command: The command line that was typed.
        seed: The seed of the permutations.

    Returns:
        The comparison.
    """
    comparison = compare_slices(before, after, command=command, seed=seed)
    with writing(folder, RUN_FOLDER):
        comparison.save(folder)
        with atomic_file(folder / PAGE) as draft:
            draft.write_text(render_comparison(comparison), encoding="utf-8")
    log_comparison(comparison, logger, folder)
    output_console().print(comparison_summary(comparison))
    log.info("comparison → %s", folder / PAGE)
    return comparison
