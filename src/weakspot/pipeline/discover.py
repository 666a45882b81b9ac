"""Runs a method on predictions, and saves and shows what it found: slices, findings, report, logger, console."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool

from weakspot.evaluation.confirmation import LEVEL
from weakspot.findings import Findings, Media
from weakspot.findings.from_tree import from_tree
from weakspot.methods import Method
from weakspot.pipeline.export import export_examples
from weakspot.pipeline.progress import progress
from weakspot.pipeline.run_outputs import RunOutputs
from weakspot.pipeline.saved_runs import SLICES
from weakspot.pipeline.search import search
from weakspot.predictions import Predictions
from weakspot.predictions.atomic_files import RUN_FOLDER, atomic_file, remove_drafts, writing
from weakspot.report.class_csv import class_csv_files
from weakspot.report.html import render
from weakspot.slices import Slices
from weakspot.slices.failing_rule import ACCURACY_THRESHOLD
from weakspot.tracking.console import findings_summary, output_console
from weakspot.tracking.log import log_findings

if TYPE_CHECKING:
    from weakspot.interop.udis_tree import PublishedTree

REPORT = "report.html"

log = logging.getLogger(__name__)

_DEFAULT = RunOutputs()


def discover(
    method: Method,
    predictions: Predictions,
    folder: Path,
    *,
    confirm: float | Predictions = 0.5,
    source: str = "",
    group: str | None = None,
    restating: Sequence[str] = (),
    stability: int = 0,
    media: Media | None = None,
    texts: Sequence[str] | None = None,
    outputs: RunOutputs = _DEFAULT,
    seed: int = 0,
) -> Findings:
    """Fit `method`, and save what it found with `report_slices`; each file appears completely or not at all.

    Args:
        method: The discovery method, which is fitted.
        predictions: The audited set.
        folder: The run's folder.
        confirm: A share of the examples to hold out and test on; other predictions to test on; 0 to test nothing.
        source: A description of the other predictions.
        group: An attribute; examples with the same value stay on one side of the split.
        restating: Attributes that restate the target.
        stability: How often to fit again on parts of the data, to measure how stable slices are; 0 to skip it.
        media: Previews and Grad-CAMs by row.
        texts: The text of each example.
        outputs: What the run writes besides slices and findings.
        seed: The seed of samples and permutations.

    Returns:
        The findings.
    """
    remove_drafts(folder.parent.glob("*"), SLICES)  # before the search, which takes longest and may fail
    found = search(method, predictions, confirm, source, group, stability, seed)
    return report_slices(
        found.slices,
        predictions,
        folder,
        confirm=found.confirm,
        source=found.source,
        restating=restating,
        stability=found.stability,
        media=media,
        texts=texts,
        outputs=outputs,
        seed=seed,
    )


def report_slices(
    slices: Slices,
    predictions: Predictions,
    folder: Path,
    *,
    confirm: Predictions | Bool[np.ndarray, " n"] | None = None,
    searched: int | None = None,
    source: str = "",
    restating: Sequence[str] = (),
    stability: Sequence[float | None] | None = None,
    media: Media | None = None,
    texts: Sequence[str] | None = None,
    notes: Sequence[str] = (),
    outputs: RunOutputs = _DEFAULT,
    level: float = LEVEL,
    seed: int = 0,
) -> Findings:
    """Describe and test slices that exist already, and save the same files as `discover`.

    Args:
        slices: The slices, with a weight for every example.
        predictions: The predictions that they are described over.
        folder: The run's folder.
        confirm: What to test on: (n,) the rows that were not searched (all of them, if the slices were found
            elsewhere), or other predictions; None to test nothing.
        searched: How many examples were searched for the slices, if these are other examples.
        source: A description of what is tested on, or why nothing is.
        restating: Attributes that restate the target.
        stability: The stability of every slice, if it was measured.
        media: Previews and Grad-CAMs by row.
        texts: The text of each example.
        notes: Cautions for the reader.
        outputs: What the run writes besides slices and findings.
        level: The false discovery rate of what is confirmed.
        seed: The seed of samples and permutations.

    Returns:
        The findings.
    """
    remove_drafts(folder.parent.glob("*"), SLICES)  # drafts of runs that were killed
    _save_slices(slices, folder)
    with progress("testing and describing what was found"):
        findings = Findings.build(
            predictions,
            slices,
            confirm=confirm,
            searched=searched,
            source=source,
            hide=[name for name in restating if name in predictions.attributes.column_names],
            texts=texts,
            stability=stability,
            notes=notes,
            command=outputs.command,
            level=level,
            seed=seed,
            members=outputs.report.members,
            projection=outputs.report.map,
        )
    media = media or Media()
    _publish(findings, media, folder, outputs)
    if outputs.export is not None:
        export_examples(findings, slices, predictions, folder, media, texts)
    _draw_figures(outputs.figures, folder, findings, predictions, slices, media, texts)
    return findings


def report_tree(
    tree: PublishedTree,
    folder: Path,
    *,
    accuracy_threshold: float = ACCURACY_THRESHOLD,
    source: str = "",
    outputs: RunOutputs = _DEFAULT,
) -> Findings:
    """Describe a published cluster tree by itself, and save the same files as `discover`.

    Args:
        tree: The tree, as `weakspot.interop.udis_tree.read` returns it.
        folder: The run's folder.
        accuracy_threshold: The share of the accuracy of all examples below which a cluster fails.
        source: The file that the tree comes from.
        outputs: What the run writes besides slices and findings.

    Returns:
        The findings; nothing is confirmed, because nothing can be tested.
    """
    remove_drafts(folder.parent.glob("*"), SLICES)
    slices, findings = _tree_findings(tree, source, outputs.command, accuracy_threshold)
    slices.save(folder / SLICES)
    _publish(findings, Media(), folder, outputs)
    _draw_figures(outputs.figures, folder, findings)
    return findings


def render_tree(tree: PublishedTree, source: str, command: str) -> str:
    """Return the report that `report_tree` would write, and write nothing to the disk.

    Args:
        tree: The tree, as `weakspot.interop.udis_tree.read` returns it.
        source: The file that the tree comes from.
        command: The command line that was typed.

    Returns:
        One HTML page.
    """
    _, findings = _tree_findings(tree, source, command)
    return render(findings, Media())


def _tree_findings(
    tree: PublishedTree, source: str, command: str, accuracy_threshold: float = ACCURACY_THRESHOLD
) -> tuple[Slices, Findings]:
    from weakspot.interop.udis_tree_record import record_of, slices_of

    record = record_of(tree)
    slices = slices_of(tree, record, accuracy_threshold, source)
    return slices, from_tree(record, slices, command=command)


def _save_slices(slices: Slices, folder: Path) -> None:
    """Save slices, and their cluster tree in the published UDIS tool's format if they hold all that it needs."""
    slices.save(folder / SLICES)
    if slices.tree is None:
        return
    from weakspot.interop import udis_tree

    try:
        udis_tree.write(udis_tree.export(slices), folder / udis_tree.FILE_NAME)
    except ValueError as error:
        log.info(
            "the report shows the cluster tree; there is no copy of it for the published UDIS tool's viewer (%s): %s",
            udis_tree.FILE_NAME,
            error,
        )


def _publish(findings: Findings, media: Media, folder: Path, outputs: RunOutputs) -> None:
    """Save the findings and the report, and pass them to the logger and the console."""
    with writing(folder, RUN_FOLDER), progress("writing the report"):
        findings.save(folder)
        with atomic_file(folder / REPORT) as draft:
            draft.write_text(render(findings, media, outputs.report), encoding="utf-8")
        for name, text in class_csv_files(findings).items():
            with atomic_file(folder / name) as draft:
                draft.write_text(text, encoding="utf-8", newline="")
    log_findings(findings, media, outputs.logger, folder)
    output_console().print(findings_summary(findings))
    log.info("report → %s", folder / REPORT)


def _draw_figures(
    kind: str | None,
    folder: Path,
    findings: Findings,
    predictions: Predictions | None = None,
    slices: Slices | None = None,
    media: Media | None = None,
    texts: Sequence[str] | None = None,
) -> None:
    """Draw figures for papers, if they are requested."""
    if kind is None:
        return
    from weakspot.figures import draw
    from weakspot.figures.all_figures import FOLDER

    with writing(folder, RUN_FOLDER):
        files = draw(folder / FOLDER, kind, findings, predictions, slices, media, texts)
    log.info("%d figures → %s", len(files), folder / FOLDER)
