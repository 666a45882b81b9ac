"""Sends findings and comparisons to the logger of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from weakspot.findings import Findings, Media
from weakspot.findings.comparison import PAGE, STATUSES, ComparedSlice, Comparison
from weakspot.tracking.dashboard import log_to_wandb, search_curves
from weakspot.tracking.loggers import RunLogger, TensorBoardLogger, WandbLogger
from weakspot.tracking.scalars import scalars
from weakspot.tracking.tables import table_of_records


def log_findings(findings: Findings, media: Media, logger: RunLogger | None, folder: Path) -> None:
    """Send findings to the run's logger; everything that is sent is also in the run's folder.

    Args:
        findings: The findings; nothing is computed here.
        media: Previews and Grad-CAMs.
        logger: The run's logger (`weakspot.tracking.loggers`), or any of Lightning's, which gets only the numbers; or
            None.
        folder: The run's folder, with the report, the slices and the findings.
    """
    if logger is None:
        return
    match logger:
        case WandbLogger():
            log_to_wandb(logger.experiment, findings, media, folder)
        case TensorBoardLogger():
            _log_numbers(logger, findings)
            _to_tensorboard(logger.experiment, findings, media)
        case _:
            _log_numbers(logger, findings)
    logger.finalize("success")


def log_comparison(comparison: Comparison, logger: RunLogger | None, folder: Path) -> None:
    """Send a comparison of two runs to the run's logger: how many slices have each status, and the outcome of each.

    Args:
        comparison: The comparison; nothing is computed here.
        logger: The run's logger (`weakspot.tracking.loggers`), or any of Lightning's, which gets only the numbers; or
            None.
        folder: The run's folder, with the comparison's page.
    """
    if logger is None:
        return
    numbers = {f"compare/{status}": float(len(comparison.of(status))) for status in STATUSES}
    numbers["compare/change"] = comparison.change.value
    if isinstance(logger, WandbLogger):
        import wandb

        columns, rows = table_of_records(map(_slice_record, comparison.slices))
        page = (folder / PAGE).read_text(encoding="utf-8")
        logger.experiment.summary.update({"comparison": comparison.title, **numbers})
        logger.experiment.log(
            {
                "compare": wandb.Table(columns=[*columns], data=rows),
                "comparison": wandb.Html(page, inject=False),
            }
        )
    else:
        logger.log_metrics(numbers)
    logger.finalize("success")


def _slice_record(one: ComparedSlice) -> dict[str, Any]:
    record: dict[str, Any] = {"slice": one.name, "found": one.found, "status": one.status}
    for name, performance in (("before", one.before), ("after", one.after)):
        if performance is not None:
            record |= {name: performance.inside.inside, f"{name}_p_corrected": performance.p_corrected}
    if one.change is not None:
        low, high = one.change.interval or (None, None)
        record |= {"change": one.change.value, "change_low": low, "change_high": high}
    return record | {"sentence": one.sentence}


def _log_numbers(logger: RunLogger, findings: Findings) -> None:
    for one in findings.slices:
        for step, values in search_curves(one):
            logger.log_metrics({f"slice_{one.number}/search/{name}": v for name, v in values.items()}, step)
    logger.log_metrics(scalars(findings))


def _to_tensorboard(writer: Any, findings: Findings, media: Media) -> None:
    for kind, number, rows in _top_examples(findings):
        images = [image for image in map(media.image, rows) if image is not None]
        for rank, image in enumerate(images):
            pixels = np.asarray(image.convert("RGB"))
            writer.add_image(f"{kind}_{number}/examples", pixels, global_step=rank, dataformats="HWC")
    head = "| attribute | value | share inside | share outside | lift |\n|---|---|---|---|---|\n"
    for finding in findings.findings:
        lines = (
            f"| {e.attribute} | {e.value} | {e.share_inside:.3f} | {e.share_outside:.3f} | {e.lift:.2f} |"
            for e in finding.portrait.enrichment
        )
        writer.add_text(f"finding_{finding.number}/sentence", finding.sentence)
        writer.add_text(f"finding_{finding.number}/attributes", head + "\n".join(lines))


def _top_examples(findings: Findings) -> Iterator[tuple[str, int, Sequence[int]]]:
    for kind, parts in (("finding", findings.findings), ("slice", findings.slices)):
        for part in parts:
            yield kind, part.number, part.portrait.top
