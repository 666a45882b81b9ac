"""Run a method on predictions and tell what it found: files, report, logger, console."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from weakspot.explain.attributes import Enrichment, categorise, rank
from weakspot.predictions import Predictions
from weakspot.report.html import render
from weakspot.slices import Slices
from weakspot.tracking.discovery import Discovery, log_discovery

if TYPE_CHECKING:
    from PIL.Image import Image
    from pytorch_lightning.loggers import Logger

REPORT = "report.html"

log = logging.getLogger(__name__)


class Method(Protocol):
    """What every discovery method offers: scikit-learn's habits, predictions in, slices out."""

    slices_: Slices

    def fit(self, p: Predictions, callback: Callable[[str, int, int], None] | None = None) -> Any: ...


def discover(
    method: Method,
    predictions: Predictions,
    folder: Path,
    preview: Callable[[int], Any] | None = None,
    cams: Callable[[Sequence[int]], list[Image]] | None = None,
    logger: Logger | None = None,
    command: str = "",
) -> Slices:
    """Fit `method` and leave slices/ and report.html in `folder`; each appears whole or not at all."""
    with _progress() as tell:
        method.fit(predictions, callback=tell)
    slices = method.slices_
    slices.save(folder / "slices")
    page = render(predictions, slices, preview=preview, cams=cams, command=command)
    draft = folder / f"{REPORT}.part"
    draft.write_text(page, encoding="utf-8")
    os.replace(draft, folder / REPORT)

    attributes = categorise(predictions.attributes)
    enrichments = [rank(weights, attributes, predictions.counts) for weights in slices.weights]
    log_discovery(
        logger, Discovery(predictions, slices, enrichments, preview, folder / REPORT, folder / "slices")
    )
    Console().print(summary(predictions, slices, enrichments))
    log.info("report → %s", folder / REPORT)
    return slices


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for (what is going on, done, in all); off a terminal it keeps silent."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task("starting: the first run compiles", total=None)
        yield lambda stage, done, total: bar.update(task, description=stage, completed=done, total=total)


def summary(predictions: Predictions, slices: Slices, enrichments: list[list[Enrichment]]) -> Table:
    """One line per slice: how large, how wrong, and what it has too much of."""
    average = (
        ""
        if predictions.accuracy is None
        else f"; accuracy of all {len(predictions)}: {predictions.accuracy:.1%}"
    )
    table = Table(title=f"{slices.method}: {len(slices)} slices{average}", title_justify="left")
    for column in ("slice", "size", "loss inside", "outside", "accuracy inside", "outside"):
        table.add_column(column, justify="right")
    table.add_column("mostly")
    for j, (statistics, found) in enumerate(zip(slices.statistics, enrichments, strict=True)):
        first = (
            f"{found[0].attribute}={found[0].value} ({found[0].share_inside:.0%}, {found[0].lift:.1f}×)"
            if found
            else ""
        )
        table.add_row(
            str(j + 1),
            f"{statistics['size']:.1f}",
            *(_number(statistics[name]) for name in ("loss_inside", "loss_outside")),
            *(_percent(statistics[name]) for name in ("accuracy_inside", "accuracy_outside")),
            first,
        )
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
