"""Before and after: as a table on the console, to the logger, and as a file beside the checkpoint."""

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
from weakspot.findings.numbers import THIN, count, decimal, tenth
from weakspot.legible import printable
from weakspot.predictions.atomic_files import atomic_file, writing

if TYPE_CHECKING:
    from weakspot.tracking.loggers import RunLogger

FILE = "mended.json"


def write_mended(mended: MendedModelComparison, folder: Path) -> None:
    """Leave it in the checkpoint's folder."""
    record = {
        "where": mended.where,
        "changes": [{**asdict(one), "points": one.points} for one in mended.changes],
    }
    with writing(folder, "checkpoints_dir"), atomic_file(folder / FILE) as draft:
        draft.write_text(
            json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8", newline=""
        )


def log_mended(mended: MendedModelComparison, logger: RunLogger | None) -> None:
    """Send it to the run's logger: `mended/worst group/accuracy_before`, `…/accuracy_after`."""
    if logger is None:
        return
    numbers = {
        f"mended/{_name(change)}/{measure}_{when}": value
        for change in mended.changes
        for when, measured in (("before", change.before), ("after", change.after))
        for measure, value in (("accuracy", measured.accuracy), ("loss", measured.loss))
        if value is not None
    }
    logger.log_metrics(numbers)
    logger.finalize("success")


def mended_table(mended: MendedModelComparison) -> Group:
    """What rich prints: a line for all examples, for each finding, and for the worst group of each attribute."""
    by_accuracy = mended.changes[0].points is not None
    table = Table()
    table.add_column("examples", overflow="fold", ratio=1)
    table.add_column("before", justify="right")
    table.add_column("after", justify="right")
    if by_accuracy:
        table.add_column("points", justify="right")
    for change in mended.changes:
        cells = [escape(printable(_name(change))), _cell(change.before), _cell(change.after)]
        if by_accuracy:
            cells.append(f"{change.points or 0:+.1f}".replace("-", "−"))
        table.add_row(*cells)
    measure = "Accuracy" if by_accuracy else "Loss"
    return Group(
        Text(f"{measure} before and after, with 95{THIN}% intervals ({printable(mended.where)})"), table
    )


def _name(change: Change) -> str:
    return f"worst {change.name}" if change.kind == "worst" else change.name


def _cell(measured: GroupPerformance) -> str:
    show, value = (decimal, measured.loss) if measured.accuracy is None else (tenth, measured.accuracy)
    lines = [show(value)]
    if measured.interval is not None:
        lines.append(f"{show(measured.interval[0])} to {show(measured.interval[1])}")
    of = "" if measured.value is None else f"{escape(printable(measured.value))}, "
    return "\n".join([*lines, f"{of}n{THIN}={THIN}{count(measured.examples)}"])
