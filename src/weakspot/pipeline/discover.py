"""Run a method on predictions and say what it found: findings, report, logger, console."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from weakspot.findings import Findings, Media
from weakspot.methods import Method
from weakspot.pipeline.search import search
from weakspot.predictions import Predictions
from weakspot.predictions.folders import sweep, whole_file, writing
from weakspot.report.html import render
from weakspot.tracking.console import summary
from weakspot.tracking.log import log_findings

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

REPORT = "report.html"
SLICES = "slices"

log = logging.getLogger(__name__)


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
    logger: Logger | None = None,
    command: str = "",
    seed: int = 0,
) -> Findings:
    """Fit `method` and leave slices, findings and report in `folder`; each appears whole or not at all.

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
        logger: W&B, TensorBoard, another of Lightning's, or none.
        command: The line that was typed.
        seed: Of samples and permutations.

    Returns:
        The findings.
    """
    sweep(folder.parent.glob("*"), SLICES)  # of runs that were killed
    found = search(method, predictions, confirm, source, group, stability, seed)
    found.slices.save(folder / SLICES)
    findings = Findings.build(
        predictions,
        found.slices,
        confirm=found.confirm,
        source=found.source,
        hide=hide,
        texts=texts,
        stability=found.stability,
        command=command,
        seed=seed,
    )
    media = media or Media()
    with writing(folder, "hydra.run.dir"):
        findings.save(folder)
        with whole_file(folder / REPORT) as draft:
            draft.write_text(render(findings, media), encoding="utf-8")
    log_findings(findings, media, logger, folder)
    Console().print(summary(findings))
    log.info("report → %s", folder / REPORT)
    return findings
