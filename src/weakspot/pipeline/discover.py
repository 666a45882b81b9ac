"""Run a method on predictions and tell what it found: files, report, logger, console."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from weakspot.explain.attributes import Enrichment, rank
from weakspot.explain.words import Word, distinctive_words
from weakspot.methods import Method, restored
from weakspot.predictions import Predictions
from weakspot.predictions.attributes import categorise
from weakspot.predictions.folders import sweep, whole_file, writing
from weakspot.report.html import render
from weakspot.slices import Slices
from weakspot.slices.statistics import SliceStatistics
from weakspot.tracking.discovery import Discovery, log_discovery

if TYPE_CHECKING:
    from PIL.Image import Image
    from pytorch_lightning.loggers import Logger

REPORT = "report.html"
SLICES = "slices"

_WORDS = 5  # of a slice of texts, in the table

log = logging.getLogger(__name__)


def discover(
    method: Method,
    predictions: Predictions,
    folder: Path,
    preview: Callable[[int], Any] | None = None,
    cams: Callable[[Sequence[int]], list[Image]] | None = None,
    logger: Logger | None = None,
    command: str = "",
    texts: Sequence[str] | None = None,
) -> Slices:
    """Fit `method` and leave slices/ and report.html in `folder`; each appears whole or not at all."""
    sweep(folder.parent.glob("*"), SLICES)  # of runs that were killed
    with _progress() as tell:
        method.fit(predictions, callback=tell)
    slices = method.slices_
    slices.save(folder / SLICES)
    words = [] if texts is None else distinctive_words(slices.weights, texts, predictions.counts)
    page = render(predictions, slices, preview=preview, cams=cams, command=command, words=words)
    with writing(folder, "hydra.run.dir"), whole_file(folder / REPORT) as draft:
        draft.write_text(page, encoding="utf-8")

    attributes = categorise(predictions.attributes)
    enrichments = [rank(weights, attributes, predictions.counts) for weights in slices.weights]
    found = Discovery(
        predictions, slices, enrichments, preview, cams, folder / REPORT, folder / SLICES, words
    )
    log_discovery(logger, found)
    if len(slices):
        Console().print(summary(predictions, slices, enrichments, words))
    else:
        log.info("%s: no slice was found; the report shows what was looked at", slices.method)
    for advice in restored(slices).advice(slices):
        log.warning(advice)
    log.info("report → %s", folder / REPORT)
    return slices


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for (what is going on, done, in all); off a terminal it keeps silent."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task("starting: the first run compiles", total=None)
        yield lambda stage, done, total: bar.update(task, description=stage, completed=done, total=total)


def summary(
    predictions: Predictions,
    slices: Slices,
    enrichments: Sequence[Sequence[Enrichment]],
    words: Sequence[Sequence[Word]] = (),
) -> Table:
    """One line per slice: what it has too much of, how large it is, how wrong inside (and outside)."""
    found = "1 slice" if len(slices) == 1 else f"{len(slices)} slices"
    right = predictions.accuracy
    of_all = "" if right is None else f"; accuracy of all {len(predictions)}: {right:.1%}"
    table = Table(title=f"{slices.method}: {found}{of_all}", title_justify="left")
    table.add_column("slice", justify="right")
    table.add_column("mostly", overflow="fold")
    table.add_column("size", justify="right")
    measures = [
        (name, show)
        for name, show in (("accuracy", "{:.1%}"), ("loss", "{:.3f}"))
        if any(getattr(statistics, f"{name}_inside") is not None for statistics in slices.statistics)
    ]
    for name, _ in measures:
        table.add_column(f"{name} (outside)", justify="right")
    for j, (statistics, most) in enumerate(zip(slices.statistics, enrichments, strict=True)):
        mostly = _named(most[0]) if most and most[0].telling else ""
        if words and words[j]:
            mostly = "\n".join([mostly, " · ".join(word.text for word in words[j][:_WORDS])]).strip()
        cells = (_pair(statistics, name, show) for name, show in measures)
        table.add_row(str(j + 1), escape(mostly), f"{statistics.size:.1f}", *cells)
    return table


def _named(found: Enrichment) -> str:
    lift = f"{found.lift:.1f}×" if found.lift < float("inf") else "only here"
    return f"{found.attribute}={found.value} ({found.share_inside:.0%}, {lift})"


def _pair(statistics: SliceStatistics, name: str, show: str) -> str:
    inside, outside = getattr(statistics, f"{name}_inside"), getattr(statistics, f"{name}_outside")
    rest = "" if outside is None else f" ({show.format(outside)})"
    return "" if inside is None else show.format(inside) + rest
