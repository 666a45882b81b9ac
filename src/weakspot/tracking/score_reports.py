"""Reports the scores of a model on a split: to the logger, on the console, and in a file."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from weakspot.delimited import csv_text
from weakspot.findings.numbers import count, percent_to_tenth
from weakspot.legible import printable
from weakspot.predictions.atomic_files import RUN_FOLDER, atomic_file, writing
from weakspot.tracking.tables import table_of_records

if TYPE_CHECKING:
    from weakspot.tracking.loggers import RunLogger

FILE = "scores.csv"

_WIDTH = 80  # characters of a line
_MOST = 100  # classes; up to this many, all are shown
_WORST = 20  # classes shown if there are more

ByClass = Mapping[str, Mapping[str, float]]


def log_scores(scores: Mapping[str, float], by_class: ByClass, split: str, logger: RunLogger | None) -> None:
    """Send the scores to the run's logger: `test/accuracy`, `test/class=dog/f1`; NaN and infinity are left out.

    W&B also gets the classes as a table, `test/classes`.
    """
    from weakspot.tracking.loggers import WandbLogger

    if logger is None:
        return
    numbers = {f"{split}/{name}": value for name, value in scores.items()}
    for one, measures in by_class.items():
        numbers |= {f"{split}/class={one}/{name}": value for name, value in measures.items()}
    logger.log_metrics({name: value for name, value in numbers.items() if math.isfinite(value)})
    if isinstance(logger, WandbLogger) and by_class:
        import wandb

        columns, rows = table_of_records({"class": one, **measures} for one, measures in by_class.items())
        logger.experiment.log({f"{split}/classes": wandb.Table(columns=[*columns], data=rows)})
    logger.finalize("success")


def write_scores(by_class: ByClass, folder: Path) -> None:
    """Write the measures of all classes to `scores.csv` in the run's folder, if there are any."""
    if not by_class:
        return
    measures = list(next(iter(by_class.values())))
    rows = ([one, *(f"{found[name]:.6g}" for name in measures)] for one, found in by_class.items())
    text = csv_text(["class", *measures], rows)
    with writing(folder, RUN_FOLDER), atomic_file(folder / FILE) as draft:
        draft.write_text(text, encoding="utf-8", newline="")


def scores_table(scores: Mapping[str, float], by_class: ByClass) -> Group:
    """Return a renderable for rich: all measures in a line or two, and a row for every class.

    If there are very many classes, only the worst are shown.
    """
    line = " · ".join(f"{name} {value:.4g}" for name, value in scores.items())
    lines = [Text(line) for line in textwrap.wrap(line, _WIDTH)]
    if not by_class:
        return Group(*lines)
    shown = list(by_class.items())
    measures = [name for name in shown[0][1] if name != "examples"]
    note = []
    if len(shown) > _MOST:
        with_value = [one for one in shown if math.isfinite(one[1][measures[-1]])]
        note = [
            Text(f"The {_WORST} worst of {count(len(shown))} classes; {FILE} in the run's folder has all.")
        ]
        shown = sorted(with_value, key=lambda one: one[1][measures[-1]])[:_WORST]
    table = Table()
    table.add_column("class", overflow="fold")
    for name in ("examples", *measures):
        table.add_column(name, justify="right")
    for one, found in shown:
        table.add_row(
            escape(printable(one)),
            count(found["examples"]),
            *(percent_to_tenth(found[name]) for name in measures),
        )
    return Group(*lines, *note, table)
