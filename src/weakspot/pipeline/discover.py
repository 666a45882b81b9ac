"""Run a method on predictions and say what it found: findings, report, logger, console."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool
from rich.console import Console

from weakspot.findings import Findings, Media
from weakspot.findings.build import LEVEL
from weakspot.findings.from_tree import from_tree
from weakspot.methods import Method
from weakspot.pipeline.export import export_examples
from weakspot.pipeline.runs import SLICES
from weakspot.pipeline.search import search
from weakspot.predictions import Predictions
from weakspot.predictions.atomic_files import atomic_file, remove_drafts, writing
from weakspot.report.html import render
from weakspot.report.options import ReportOptions
from weakspot.report.sheets import sheets
from weakspot.slices import Slices
from weakspot.slices.failing import ACCURACY_THRESHOLD
from weakspot.tracking.console import findings_summary
from weakspot.tracking.log import log_findings

if TYPE_CHECKING:
    from weakspot.interop.udis_tree import PublishedTree
    from weakspot.tracking.loggers import RunLogger

REPORT = "report.html"

log = logging.getLogger(__name__)

_DEFAULT = ReportOptions()


def discover(
    method: Method,
    predictions: Predictions,
    folder: Path,
    *,
    confirm: float | Predictions = 0.5,
    source: str = "",
    group: str | None = None,
    hide: Sequence[str] = (),
    stability: int = 0,
    media: Media | None = None,
    texts: Sequence[str] | None = None,
    options: ReportOptions = _DEFAULT,
    logger: RunLogger | None = None,
    export: str | None = None,
    command: str = "",
    seed: int = 0,
    figures: str | None = None,
) -> Findings:
    """Fit `method`, and `report` what it found: slices, findings and report in `folder`, each whole or not at all.

    Args:
        method: Any discovery method; it is fitted.
        predictions: The audited set.
        folder: The run's folder.
        confirm: A share of the examples to hold out and test on; other predictions to test on; 0 tests nothing.
        source: What other predictions are, in words.
        group: An attribute whose values keep their examples on one side.
        hide: Attributes that restate the target.
        stability: How often to fit again on parts of the data, to say how stable slices are; 0 leaves it out.
        media: Previews and Grad-CAMs by row.
        texts: What is written in each example.
        options: How much the report shows.
        logger: The run's (`weakspot.tracking.loggers`), or any of Lightning's, which gets the numbers alone; or none.
        export: "parquet" to leave every example as a table that other viewers read, too.
        command: The line that was typed.
        seed: Of samples and permutations.
        figures: pdf, png or svg: leave figures for papers there, too.

    Returns:
        The findings.
    """
    found = search(method, predictions, confirm, source, group, stability, seed)
    return report(
        found.slices,
        predictions,
        folder,
        confirm=found.confirm,
        source=found.source,
        hide=hide,
        stability=found.stability,
        media=media,
        texts=texts,
        options=options,
        logger=logger,
        export=export,
        command=command,
        seed=seed,
        figures=figures,
    )


def report(
    slices: Slices,
    predictions: Predictions,
    folder: Path,
    *,
    confirm: Predictions | Bool[np.ndarray, " n"] | None = None,
    searched: int | None = None,
    source: str = "",
    hide: Sequence[str] = (),
    stability: Sequence[float | None] | None = None,
    media: Media | None = None,
    texts: Sequence[str] | None = None,
    notes: Sequence[str] = (),
    options: ReportOptions = _DEFAULT,
    logger: RunLogger | None = None,
    export: str | None = None,
    command: str = "",
    level: float = LEVEL,
    seed: int = 0,
    figures: str | None = None,
) -> Findings:
    """Say what there is to say of slices that are there already, and leave the same files as `discover`.

    Args:
        slices: With a weight for every example.
        predictions: What they are described over.
        folder: The run's folder.
        confirm: The rows that nothing was sought in (all of them, where the slices were found elsewhere), or other
            predictions, to test on; None tests nothing.
        searched: How many examples the slices were sought in, where these are others.
        source: What is tested on, in words, or why nothing is.
        hide, media, texts, options, logger, export, command, seed, figures: As for `discover`.
        stability: Of every slice, if it was measured.
        notes: Words of caution.
        level: False discovery rate of what is confirmed.

    Returns:
        The findings.
    """
    remove_drafts(folder.parent.glob("*"), SLICES)  # of runs that were killed
    _keep(slices, folder)
    findings = Findings.build(
        predictions,
        slices,
        confirm=confirm,
        searched=searched,
        source=source,
        hide=hide,
        texts=texts,
        stability=stability,
        notes=notes,
        command=command,
        level=level,
        seed=seed,
        members=options.members,
        projection=options.map,
    )
    media = media or Media()
    _tell(findings, media, options, logger, folder)
    if export is not None:
        export_examples(findings, slices, predictions, folder, media, texts)
    _draw(figures, folder, findings, predictions, slices, media, texts)
    return findings


def discover_in_tree(
    tree: PublishedTree,
    folder: Path,
    *,
    accuracy_threshold: float = ACCURACY_THRESHOLD,
    source: str = "",
    options: ReportOptions = _DEFAULT,
    logger: RunLogger | None = None,
    command: str = "",
    figures: str | None = None,
) -> Findings:
    """Say what a published cluster tree tells by itself, and leave the same files as `discover`.

    Args:
        tree: As `weakspot.interop.udis_tree.read` gives it.
        folder: The run's folder.
        accuracy_threshold: Share of the accuracy of all below which a cluster fails.
        source: The file that it comes from.
        options: How much the report shows.
        logger: The run's (`weakspot.tracking.loggers`), or any of Lightning's, which gets the numbers alone; or none.
        command: The line that was typed.
        figures: As for `discover`.

    Returns:
        The findings; nothing is confirmed, for nothing can be tested.
    """
    remove_drafts(folder.parent.glob("*"), SLICES)
    slices, findings = _from_tree(tree, source, command, accuracy_threshold)
    slices.save(folder / SLICES)
    _tell(findings, Media(), options, logger, folder)
    _draw(figures, folder, findings)
    return findings


def page_of_tree(tree: PublishedTree, source: str, command: str) -> str:
    """The report that `discover_in_tree` would write, and nothing on the disk.

    Args:
        tree, source, command: As for `discover_in_tree`.

    Returns:
        One HTML page.
    """
    _, findings = _from_tree(tree, source, command)
    return render(findings, Media())


def _from_tree(
    tree: PublishedTree, source: str, command: str, accuracy_threshold: float = ACCURACY_THRESHOLD
) -> tuple[Slices, Findings]:
    from weakspot.interop.udis_tree_record import record_of, slices_of

    record = record_of(tree)
    slices = slices_of(tree, record, accuracy_threshold, source)
    return slices, from_tree(record, slices, command=command)


def _keep(slices: Slices, folder: Path) -> None:
    """Slices as files, and a cluster tree as the published UDIS tool has it where they tell all that its form holds."""
    slices.save(folder / SLICES)
    if slices.tree is None:
        return
    from weakspot.interop import udis_tree

    try:
        udis_tree.write(udis_tree.export(slices), folder / udis_tree.FILE_NAME)
    except ValueError as error:
        log.info("%s of the published tool is not written: %s", udis_tree.FILE_NAME, error)


def _tell(
    findings: Findings, media: Media, options: ReportOptions, logger: RunLogger | None, folder: Path
) -> None:
    """Findings as files, to the logger and on the console."""
    with writing(folder, "hydra.run.dir"):
        findings.save(folder)
        with atomic_file(folder / REPORT) as draft:
            draft.write_text(render(findings, media, options), encoding="utf-8")
        for name, text in sheets(findings).items():
            with atomic_file(folder / name) as draft:
                draft.write_text(text, encoding="utf-8", newline="")
    log_findings(findings, media, logger, folder)
    Console().print(findings_summary(findings))
    log.info("report → %s", folder / REPORT)


def _draw(
    kind: str | None,
    folder: Path,
    findings: Findings,
    predictions: Predictions | None = None,
    slices: Slices | None = None,
    media: Media | None = None,
    texts: Sequence[str] | None = None,
) -> None:
    """Figures for papers, where they are asked for."""
    if kind is None:
        return
    from weakspot.figures import draw
    from weakspot.figures.all_figures import FOLDER

    with writing(folder, "hydra.run.dir"):
        files = draw(folder / FOLDER, kind, findings, predictions, slices, media, texts)
    log.info("%d figures → %s", len(files), folder / FOLDER)
