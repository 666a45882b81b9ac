"""Findings, sent to whichever logger the run has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from weakspot.findings import Finding, Findings, Media
from weakspot.findings.comparison import PAGE, STATUSES, Compared, Comparison
from weakspot.findings.record import FILE, MEMBERSHIPS, Slice
from weakspot.tracking.classes import class_tables
from weakspot.tracking.loggers import RunLogger, TensorBoardLogger, WandbLogger

_MEMBER_ROWS = 100_000  # of the table; the artifact holds all


def log_findings(findings: Findings, media: Media, logger: RunLogger | None, folder: Path) -> None:
    """Send findings to the run's logger; all that is sent stands in the run's folder too.

    Args:
        findings: Everything that is said; nothing is computed here.
        media: Previews and Grad-CAMs.
        logger: The run's (`weakspot.tracking.loggers`), or any of Lightning's, which gets the numbers alone; or none.
        folder: The run's folder, with the report, the slices and the findings.
    """
    if logger is None:
        return
    match logger:
        case WandbLogger():
            _to_wandb(logger.experiment, findings, media, folder)
        case TensorBoardLogger():
            _log_numbers(logger, findings)
            _to_tensorboard(logger.experiment, findings, media)
        case _:
            _log_numbers(logger, findings)
    logger.finalize("success")


def log_comparison(comparison: Comparison, logger: RunLogger | None, folder: Path) -> None:
    """Send a comparison of two runs to the run's logger: how many slices of each status, and what became of each.

    Args:
        comparison: Everything that is said; nothing is computed here.
        logger: The run's (`weakspot.tracking.loggers`), or any of Lightning's, which gets the numbers alone; or none.
        folder: The run's folder, with the comparison's page.
    """
    if logger is None:
        return
    numbers = {f"compare/{status}": float(len(comparison.of(status))) for status in STATUSES}
    numbers["compare/change"] = comparison.change.value
    if isinstance(logger, WandbLogger):
        import wandb

        columns, rows = _records(map(_compared, comparison.slices))
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


def _compared(one: Compared) -> dict[str, Any]:
    found: dict[str, Any] = {"slice": one.name, "found": one.found, "status": one.status}
    for name, standing in (("before", one.before), ("after", one.after)):
        if standing is not None:
            found |= {name: standing.inside.inside, f"{name}_p_corrected": standing.p_corrected}
    if one.change is not None:
        low, high = one.change.interval or (None, None)
        found |= {"change": one.change.value, "change_low": low, "change_high": high}
    return found | {"sentence": one.sentence}


def scalars(findings: Findings) -> dict[str, float]:
    """The numbers that runs are compared by.

    `confirmed/n` and `confirmed/errors_explained` (the share of errors in confirmed findings that explain the most),
    `worst/gap` (the largest held-out accuracy gap of a confirmed finding), `whole/…`, and `finding_1/…`, `slice_1/…`.
    """
    found: dict[str, float | None] = {
        "whole/accuracy": findings.whole.accuracy,
        "whole/loss": findings.whole.loss,
        f"whole/{findings.whole.measure}": findings.whole.accuracy
        if findings.whole.error is None
        else findings.whole.error,
        "n_slices": len(findings.slices),
    }
    confirmed = [finding for finding in findings.findings if finding.confirmed]
    found["confirmed/n"] = len(confirmed)
    found["confirmed/errors_explained"] = max((f.errors_explained or 0.0 for f in confirmed), default=0.0)
    found["worst/gap"] = max((_gap(finding) for finding in confirmed), default=0.0)
    for finding in findings.findings:
        found |= {f"finding_{finding.number}/{name}": value for name, value in _numbers(finding).items()}
    for one in findings.slices:
        found |= {f"slice_{one.number}/{name}": value for name, value in _measures(one, findings).items()}
        found[f"slice_{one.number}/p"] = one.evidence.p_corrected
        found[f"slice_{one.number}/p_searched"] = one.p_searched
    return {name: float(value) for name, value in found.items() if value is not None}


def _measures(one: Slice, findings: Findings) -> dict[str, float | None]:
    """A slice's numbers over all audited examples, by name, in the measure of the task."""
    s, error = one.statistics, one.error
    measures: dict[str, float | None] = {"size": s.size, "share": s.share, "members": s.members}
    measures |= {"loss_inside": s.loss_inside, "loss_outside": s.loss_outside}
    if findings.whole.error is None:
        return measures | {"accuracy_inside": s.accuracy_inside, "accuracy_outside": s.accuracy_outside}
    if error is None:
        return measures
    return measures | {"error_inside": error.inside, "error_outside": error.outside}


def _gap(finding: Finding) -> float:
    accuracy = finding.accuracy
    return 0.0 if accuracy is None or accuracy.outside is None else abs(accuracy.outside - accuracy.inside)


def _numbers(finding: Finding) -> dict[str, Any]:
    """A finding's numbers by name."""
    numbers: dict[str, Any] = {
        "examples": finding.examples,
        "errors_explained": finding.errors_explained,
        "p": finding.p,
        "p_corrected": finding.p_corrected,
    }
    for name in ("accuracy", "loss", "error"):
        contrast = getattr(finding, name)
        if contrast is not None:
            numbers |= {f"{name}_inside": contrast.inside, f"{name}_outside": contrast.outside}
            if contrast.interval is not None:
                numbers |= {f"{name}_low": contrast.interval[0], f"{name}_high": contrast.interval[1]}
    return numbers


def _curves(one: Slice) -> Iterator[tuple[int, dict[str, float]]]:
    """(step, values) of a slice's search."""
    by_step: dict[int, dict[str, float]] = {}
    for name, points in one.curves.items():
        for step, value in points:
            by_step.setdefault(step, {})[name] = value
    yield from sorted(by_step.items())


def _log_numbers(logger: RunLogger, findings: Findings) -> None:
    for one in findings.slices:
        for step, values in _curves(one):
            logger.log_metrics({f"slice_{one.number}/search/{name}": v for name, v in values.items()}, step)
    logger.log_metrics(scalars(findings))


def _to_tensorboard(writer: Any, findings: Findings, media: Media) -> None:
    for kind, number, rows in _galleries(findings):
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


def _galleries(findings: Findings) -> Iterator[tuple[str, int, Sequence[int]]]:
    for kind, parts in (("finding", findings.findings), ("slice", findings.slices)):
        for part in parts:
            yield kind, part.number, part.portrait.top


def _to_wandb(run: Any, findings: Findings, media: Media, folder: Path) -> None:
    import wandb

    for one in findings.slices:
        name = f"slice_{one.number}/search"
        for first, (step, values) in enumerate(_curves(one)):
            if first == 0:
                run.define_metric(f"{name}/step", hidden=True)
                run.define_metric(f"{name}/*", step_metric=f"{name}/step")
            run.log({f"{name}/step": step} | {f"{name}/{key}": value for key, value in values.items()})
    run.summary.update({"title": findings.title, "notes": " ".join(findings.notes), **scalars(findings)})
    tables = _tables(findings) | {"examples": _examples(findings, media, wandb)}
    run.log({name: wandb.Table(columns=[*columns], data=rows) for name, (columns, rows) in tables.items()})
    page = (folder / "report.html").read_text(encoding="utf-8")
    run.log({"report": wandb.Html(page, inject=False)})

    artifact = wandb.Artifact(f"slices-{run.id}", type="slices", metadata={"method": findings.method})
    artifact.add_dir(str(folder / "slices"))
    for name in ("report.html", FILE, MEMBERSHIPS):
        artifact.add_file(str(folder / name))
    run.log_artifact(artifact)


Rows = tuple[list[str], list[list[Any]]]


def _tables(findings: Findings) -> dict[str, Rows]:
    """Everything but the examples' images, as (columns, rows)."""
    found = {
        "findings": _records(
            {
                "finding": f.number,
                "name": f.name,
                "verdict": f.verdict,
                "sentence": f.sentence,
                **_numbers(f),
                "slices": ", ".join(map(str, f.parts)),
            }
            for f in findings.findings
        ),
        "slices": _records(
            {
                "slice": one.number,
                "finding": one.finding,
                "verdict": one.evidence.verdict,
                "p_corrected": one.evidence.p_corrected,
                **({} if one.p_searched is None else {"p_searched": one.p_searched}),
                **_measures(one, findings),
                **(_plain(vars(one.statistics.cluster)) if one.statistics.cluster else {}),
            }
            for one in findings.slices
        ),
        "attributes": (
            ["finding", "attribute", "value", "share_inside", "share_outside", "lift", "weight"],
            [
                [f.number, e.attribute, e.value, e.share_inside, e.share_outside, min(e.lift, 1e9), e.weight]
                for f in findings.findings
                for e in f.portrait.enrichment
            ],
        ),
        "confusion": (
            ["finding", "label", "prediction", "weight"],
            [
                [f.number, cell.label, cell.prediction, cell.weight]
                for f in findings.findings
                for cell in f.portrait.confusion
            ],
        ),
        "weights": _memberships(findings),
    }
    if any(f.portrait.words for f in findings.findings):
        found["words"] = (
            ["finding", "word", "share_inside", "share_outside", "contrast"],
            [
                [f.number, word.text, word.share_inside, word.share_outside, word.contrast]
                for f in findings.findings
                for word in f.portrait.words
            ],
        )
    if findings.clusters:
        found["clusters"] = _records(
            _plain(vars(cluster)) | {"top_attributes": ", ".join(a.name for a in cluster.top_attributes)}
            for cluster in findings.clusters
        )
    if findings.near_misses:
        found["near_misses"] = _records(_plain(vars(miss)) for miss in findings.near_misses)
    return found | class_tables(findings)


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if isinstance(value, bool | int | float | str)}


def _records(rows: Iterator[dict[str, Any]]) -> Rows:
    """Records as a table; a column that some lack is empty there."""
    records = list(rows)
    columns = list(dict.fromkeys(name for record in records for name in record))
    return columns, [[record.get(name) for name in columns] for record in records]


def _memberships(findings: Findings) -> Rows:
    table = findings.memberships.sort_by([("weight", "descending")]).slice(0, _MEMBER_ROWS)
    columns = ["group", "number", "id", "weight"]
    return columns, [list(row) for row in zip(*(table[name].to_pylist() for name in columns), strict=True)]


def _examples(findings: Findings, media: Media, wandb: Any) -> Rows:
    """The top examples of every finding and slice, each with what the model looked at; an image is logged once."""
    images: dict[int, Any] = {}
    rows = []
    for kind, parts in (("finding", findings.findings), ("slice", findings.slices)):
        for part in parts:
            overlays = media.cams(part.portrait.top)
            for row, weight, overlay in zip(part.portrait.top, part.portrait.weights, overlays, strict=True):
                example, shown = findings.example(row), media.preview(row)
                if row not in images:
                    images[row] = (
                        wandb.Image(shown)
                        if isinstance(shown, Image.Image)
                        else None
                        if shown is None
                        else str(shown),
                        None if overlay is None else wandb.Image(overlay),
                    )
                rows.append(
                    [
                        kind,
                        part.number,
                        *images[row],
                        example.id,
                        weight,
                        example.label,
                        example.prediction,
                        None if example.wrong is None else not example.wrong,
                        example.loss,
                    ]
                )
    columns = [
        "group",
        "number",
        "example",
        "grad_cam",
        "id",
        "weight",
        "label",
        "prediction",
        "correct",
        "loss",
    ]
    return columns, rows
