"""Reports a model before and after mending: on the console, to the logger, and in a file beside the checkpoint."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from weakspot.findings.mended_model import Change, GroupPerformance, MendedModelComparison
from weakspot.findings.numbers import THIN, count, decimal, percent_to_tenth
from weakspot.legible import printable
from weakspot.predictions.atomic_files import atomic_file, writing

if TYPE_CHECKING:
    from weakspot.tracking.loggers import RunLogger

FILE = "mended.json"


def write_mended(comparison: MendedModelComparison, folder: Path) -> None:
    """Write the comparison to `mended.json` in the checkpoint's folder."""
    record = {
        "where": comparison.where,
        "changes": [{**asdict(one), "points": one.points} for one in comparison.changes],
    }
    with writing(folder, "checkpoints_dir"), atomic_file(folder / FILE) as draft:
        draft.write_text(
            json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8", newline=""
        )


def log_mended(comparison: MendedModelComparison, logger: RunLogger | None) -> None:
    """Send the comparison to the run's logger: `mended/worst group/accuracy_before`, `…/accuracy_after`."""
    if logger is None:
        return
    numbers = {
        f"mended/{_name(change)}/{measure}_{when}": value
        for change in comparison.changes
        for when, performance in (("before", change.before), ("after", change.after))
        for measure, value in (("accuracy", performance.accuracy), ("loss", performance.loss))
        if value is not None
    }
    logger.log_metrics(numbers)
    logger.finalize("success")


def mended_table(comparison: MendedModelComparison) -> Group:
    """Return a table for rich: a row for all examples, for each finding, and for the worst group of each attribute."""
    by_accuracy = comparison.changes[0].points is not None
    table = Table()
    table.add_column("examples", overflow="fold", ratio=1)
    table.add_column("before", justify="right")
    table.add_column("after", justify="right")
    if by_accuracy:
        table.add_column("points", justify="right")
    for change in comparison.changes:
        cells = [escape(printable(_name(change))), _cell(change.before), _cell(change.after)]
        if by_accuracy:
            cells.append(f"{change.points or 0:+.1f}".replace("-", "−"))
        table.add_row(*cells)
    measure = "Accuracy" if by_accuracy else "Loss"
    return Group(
        Text(f"{measure} before and after, with 95{THIN}% intervals ({printable(comparison.where)})"), table
    )


def _name(change: Change) -> str:
    return f"worst {change.name}" if change.kind == "worst" else change.name


def _cell(performance: GroupPerformance) -> str:
    show, value = (
        (decimal, performance.loss)
        if performance.accuracy is None
        else (percent_to_tenth, performance.accuracy)
    )
    lines = [show(value)]
    if performance.interval is not None:
        lines.append(f"{show(performance.interval[0])} to {show(performance.interval[1])}")
    of = "" if performance.value is None else f"{escape(printable(performance.value))}, "
    return "\n".join([*lines, f"{of}n{THIN}={THIN}{count(performance.examples)}"])
