"""Logs findings to a run of W&B: numbers, tables, charts, an image of each finding, and the files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from weakspot.findings import Finding, Findings, Media
from weakspot.findings.entries import Neighbour, Slice
from weakspot.findings.numbers import percent
from weakspot.findings.record import FILE, MAP, MEMBERSHIPS
from weakspot.tracking.panel import Block, draw_panel
from weakspot.tracking.scalars import scalars
from weakspot.tracking.tables import confusion_square, example_rows_of_tables, examples_table, findings_tables

TREE = "tree.json"
"""The cluster tree in the artifact of slices: its nodes, parents first, where `parent` is a position in the list."""

_MAX_FINDING_IMAGES = 20  # findings with their own image and chart; the tables have all
_MEMBERS = 12  # examples in an image


def search_curves(one: Slice) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield (step, values by name) of a slice's search."""
    by_step: dict[int, dict[str, float]] = {}
    for name, points in one.curves.items():
        for step, value in points:
            by_step.setdefault(step, {})[name] = value
    yield from sorted(by_step.items())


def log_to_wandb(run: Any, findings: Findings, media: Media, folder: Path) -> None:
    """Log findings to an open run.

    Args:
        run: The run of W&B.
        findings: The findings; nothing is computed here.
        media: Previews and Grad-CAMs. Each is logged once, in the artifact of tables, however many tables show it.
        folder: The run's folder, with the report, the slices and the findings.
    """
    import wandb

    for one in findings.slices:
        name = f"slice_{one.number}/search"
        for first, (step, values) in enumerate(search_curves(one)):
            if first == 0:
                run.define_metric(f"{name}/step", hidden=True)
                run.define_metric(f"{name}/*", step_metric=f"{name}/step")
            run.log({f"{name}/step": step} | {f"{name}/{key}": value for key, value in values.items()})
    run.summary.update({"title": findings.title, "notes": " ".join(findings.notes), **scalars(findings)})

    all_tables = _tables(findings, media)
    artifact = wandb.Artifact(f"tables-{run.id}", type="tables", metadata={"method": findings.method})
    for name, table in all_tables.items():
        artifact.add(table, name)
    run.log_artifact(artifact)
    page = (folder / "report.html").read_text(encoding="utf-8")
    charts = _charts(findings) | _finding_images(findings, media)
    run.log(all_tables | charts | {"report": wandb.Html(page, inject=False)})
    run.log_artifact(_slices_artifact(run, findings, folder))


def _tables(findings: Findings, media: Media) -> dict[str, Any]:
    """Return all tables; those of findings, slices and clusters have the image of an example in every row."""
    import wandb

    previews: dict[int, Any] = {}
    overlays: dict[int, Any] = {}

    def preview_of(row: int | None) -> Any:
        if row is not None and row not in previews:
            preview = media.preview(row)
            previews[row] = (
                wandb.Image(preview)
                if isinstance(preview, Image.Image)
                else None
                if preview is None
                else str(preview)
            )
        return None if row is None else previews[row]

    tables = findings_tables(findings)
    for name, rows in example_rows_of_tables(findings).items():
        images = [preview_of(row) for row in rows]
        if name in tables and any(image is not None for image in images):
            columns, values = tables[name]
            tables[name] = (
                ["example", *columns],
                [[image, *cells] for image, cells in zip(images, values, strict=True)],
            )
    (columns, values), example_rows = examples_table(findings)
    for row, overlay in zip(example_rows, media.cams(example_rows), strict=True):
        if overlay is not None and row not in overlays:
            overlays[row] = wandb.Image(overlay)
    tables["examples"] = (
        ["example", "grad_cam", *columns],
        [
            [preview_of(row), overlays.get(row), *cells]
            for row, cells in zip(example_rows, values, strict=True)
        ],
    )
    return {name: wandb.Table(columns=[*columns], data=rows) for name, (columns, rows) in tables.items()}


def _charts(findings: Findings) -> dict[str, Any]:
    """Return charts of the confusions in each finding, and of the silhouette by the number of clusters."""
    import wandb

    charts = {
        f"finding_{one.number}/confusion": _confusion(one)
        for one in findings.findings[:_MAX_FINDING_IMAGES]
        if one.portrait.confusion
    }
    if findings.cut_scores:
        points = wandb.Table(columns=["clusters", "silhouette"], data=[list(p) for p in findings.cut_scores])
        charts["silhouette_by_clusters"] = wandb.plot.line(
            points, "clusters", "silhouette", title="Silhouette by the number of clusters"
        )
    return charts


def _confusion(one: Finding) -> Any:
    """Return a chart of which labels are mistaken for which in a finding."""
    import wandb

    columns, square = confusion_square(one.portrait.confusion)
    return wandb.plot_table(
        "wandb/confusion_matrix/v1",
        wandb.Table(columns=[*columns], data=square),
        {name: name for name in columns},
        {"title": one.subject},
    )


def _finding_images(findings: Findings, media: Media) -> dict[str, Any]:
    """Return, for each of the first findings with images, one image of it beside its nearest well-served cluster."""
    import wandb

    images = {}
    for one in findings.findings[:_MAX_FINDING_IMAGES]:
        blocks = [_block("members", one.portrait.top, media)]
        neighbour = _neighbour(one, findings)
        if neighbour is not None:
            accuracy = percent(neighbour.accuracy).replace("\u202f", " ")
            blocks.append(
                _block(f"the nearest well-served cluster ({accuracy} right)", neighbour.rows, media)
            )
        blocks = [block for block in blocks if block.images]
        if blocks:
            images[f"finding_{one.number}/examples"] = wandb.Image(draw_panel(blocks), caption=one.sentence)
    return images


def _block(heading: str, rows: tuple[int, ...], media: Media) -> Block:
    pictured = [row for row in rows[:_MEMBERS] if media.image(row) is not None]
    images = [image for image in map(media.image, pictured) if image is not None]
    overlays = [image for image in media.cams(pictured) if image is not None]
    complete = len(overlays) == len(images)
    return Block(
        f"{heading}, and what the model looked at" if complete and images else heading,
        images,
        overlays if complete else [],
    )


def _neighbour(one: Finding, findings: Findings) -> Neighbour | None:
    """Return the well-served cluster nearest to the first slice of a finding that has one."""
    parts = [each for each in findings.slices if each.number in one.parts]
    return next((neighbour for each in parts for neighbour in each.neighbours), None)


def _slices_artifact(run: Any, findings: Findings, folder: Path) -> Any:
    """Return the artifact of what the run found. W&B does not copy its files, because they never change."""
    import wandb

    from weakspot.interop.udis_tree import FILE_NAME as PUBLISHED_TREE

    artifact = wandb.Artifact(f"slices-{run.id}", type="slices", metadata={"method": findings.method})
    artifact.add_dir(str(folder / "slices"), policy="immutable")
    for name in ("report.html", FILE, MEMBERSHIPS, MAP, PUBLISHED_TREE):
        if (folder / name).is_file():
            artifact.add_file(str(folder / name), policy="immutable")
    if findings.clusters:
        with artifact.new_file(TREE, mode="w", encoding="utf-8") as file:
            json.dump({"nodes": [asdict(cluster) for cluster in findings.clusters]}, file, indent=1)
    return artifact
