"""Run a method on predictions and say what it found: findings, report, logger, console."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from weakspot.evaluation.stability import stability as measured_stability
from weakspot.findings import Findings, Media
from weakspot.methods import Method, apply, audit_of
from weakspot.pipeline.confirmation import plan
from weakspot.pipeline.progress import progress
from weakspot.predictions import Predictions
from weakspot.predictions.folders import sweep, whole_file, writing
from weakspot.report.html import render
from weakspot.slices import Slices
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
    planned = plan(method, predictions, confirm, source, group)
    rows = np.flatnonzero(~planned.held)
    searched = predictions.take(rows) if planned.held.any() else predictions
    with progress("starting: the first run compiles") as tell:
        method.fit(searched, callback=tell)
    slices = _everywhere(method.slices_, predictions, rows) if planned.held.any() else method.slices_
    refits = _stability(method, searched, stability, seed) if stability else None
    slices.save(folder / SLICES)
    findings = Findings.build(
        predictions,
        slices,
        confirm=planned.confirm,
        source=planned.source,
        hide=hide,
        texts=texts,
        stability=refits,
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


def _everywhere(slices: Slices, predictions: Predictions, rows: np.ndarray) -> Slices:
    """Slices of some rows as they lie in all of them: as found where they were sought, applied elsewhere."""
    weights = apply(slices, predictions).T
    weights[:, rows] = slices.weights
    audit = audit_of(slices, predictions)
    return slices.carried(weights, audit.record, rows, audit.rows)


def _stability(method: Method, searched: Predictions, refits: int, seed: int) -> list[float | None]:
    from sklearn.base import clone

    def fit(p: Predictions) -> Slices:
        again: Method = clone(method)
        return again.fit(p).slices_

    return measured_stability(fit, apply, searched, refits=refits, seed=seed)
