"""Findings as a run of W&B shows them: numbers, tables, charts, a picture of each finding, and the files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from weakspot.findings import Finding, Findings, Media
from weakspot.findings.numbers import percent
from weakspot.findings.record import FILE, MAP, MEMBERSHIPS, Neighbour, Slice
from weakspot.tracking.panel import Block, panel
from weakspot.tracking.scalars import scalars
from weakspot.tracking.tables import examples, mistaken, pictured, tables

TREE = "tree.json"
"""The cluster tree in the artifact of slices: its nodes, parents first, `parent` a position among them."""

_PICTURED = 20  # findings that have a picture and a chart of their own; the tables have all
_MEMBERS = 12  # in a picture


def curves(one: Slice) -> Iterator[tuple[int, dict[str, float]]]:
    """(step, values) of a slice's search."""
    by_step: dict[int, dict[str, float]] = {}
    for name, points in one.curves.items():
        for step, value in points:
            by_step.setdefault(step, {})[name] = value
    yield from sorted(by_step.items())


def to_wandb(run: Any, findings: Findings, media: Media, folder: Path) -> None:
    """Log findings to an open run.

    Args:
        run: W&B's.
        findings: Everything that is said; nothing is computed here.
        media: Previews and Grad-CAMs; each is logged once, in the artifact of tables, however many tables show it.
        folder: The run's folder, with the report, the slices and the findings.
    """
    import wandb

    for one in findings.slices:
        name = f"slice_{one.number}/search"
        for first, (step, values) in enumerate(curves(one)):
            if first == 0:
                run.define_metric(f"{name}/step", hidden=True)
                run.define_metric(f"{name}/*", step_metric=f"{name}/step")
            run.log({f"{name}/step": step} | {f"{name}/{key}": value for key, value in values.items()})
    run.summary.update({"title": findings.title, "notes": " ".join(findings.notes), **scalars(findings)})

    made = _tables(findings, media)
    together = wandb.Artifact(f"tables-{run.id}", type="tables", metadata={"method": findings.method})
    for name, table in made.items():
        together.add(table, name)
    run.log_artifact(together)
    page = (folder / "report.html").read_text(encoding="utf-8")
    charts = _charts(findings) | _pictures(findings, media)
    run.log(made | charts | {"report": wandb.Html(page, inject=False)})
    run.log_artifact(_slices(run, findings, folder))


def _tables(findings: Findings, media: Media) -> dict[str, Any]:
    """All tables, those of findings, slices and clusters with the image of an example in every row."""
    import wandb

    made: dict[int, Any] = {}
    overlays: dict[int, Any] = {}

    def shown(row: int | None) -> Any:
        if row is not None and row not in made:
            preview = media.preview(row)
            made[row] = (
                wandb.Image(preview)
                if isinstance(preview, Image.Image)
                else None
                if preview is None
                else str(preview)
            )
        return None if row is None else made[row]

    found = tables(findings)
    for name, rows in pictured(findings).items():
        images = [shown(row) for row in rows]
        if name in found and any(image is not None for image in images):
            columns, values = found[name]
            found[name] = ["example", *columns], [[a, *b] for a, b in zip(images, values, strict=True)]
    (columns, values), rows_of = examples(findings)
    for row, overlay in zip(rows_of, media.cams(rows_of), strict=True):
        if overlay is not None and row not in overlays:
            overlays[row] = wandb.Image(overlay)
    found["examples"] = (
        ["example", "grad_cam", *columns],
        [[shown(row), overlays.get(row), *told] for row, told in zip(rows_of, values, strict=True)],
    )
    return {name: wandb.Table(columns=[*columns], data=rows) for name, (columns, rows) in found.items()}


def _charts(findings: Findings) -> dict[str, Any]:
    """What is mistaken for what in each finding, and how well separated each number of clusters is."""
    import wandb

    found = {
        f"finding_{one.number}/confusion": _confusion(one)
        for one in findings.findings[:_PICTURED]
        if one.portrait.confusion
    }
    if findings.cut_scores:
        points = wandb.Table(columns=["clusters", "silhouette"], data=[list(p) for p in findings.cut_scores])
        found["silhouette_by_clusters"] = wandb.plot.line(
            points, "clusters", "silhouette", title="Silhouette by the number of clusters"
        )
    return found


def _confusion(one: Finding) -> Any:
    import wandb

    columns, square = mistaken(one.portrait.confusion)
    return wandb.plot_table(
        "wandb/confusion_matrix/v1",
        wandb.Table(columns=[*columns], data=square),
        {name: name for name in columns},
        {"title": one.name},
    )


def _pictures(findings: Findings, media: Media) -> dict[str, Any]:
    import wandb

    found = {}
    for one in findings.findings[:_PICTURED]:
        blocks = [_block("members", one.portrait.top, media)]
        near = _neighbour(one, findings)
        if near is not None:
            accuracy = percent(near.accuracy).replace("\u202f", " ")
            blocks.append(_block(f"the nearest well-served cluster ({accuracy} right)", near.rows, media))
        blocks = [block for block in blocks if block.images]
        if blocks:
            found[f"finding_{one.number}/examples"] = wandb.Image(panel(blocks), caption=one.sentence)
    return found


def _block(heading: str, rows: tuple[int, ...], media: Media) -> Block:
    seen = [row for row in rows[:_MEMBERS] if media.image(row) is not None]
    images = [image for image in map(media.image, seen) if image is not None]
    overlays = [image for image in media.cams(seen) if image is not None]
    whole = len(overlays) == len(images)
    return Block(
        f"{heading}, and what the model looked at" if whole and images else heading,
        images,
        overlays if whole else [],
    )


def _neighbour(one: Finding, findings: Findings) -> Neighbour | None:
    """The nearest well-served cluster of the first of its slices that has one."""
    parts = [each for each in findings.slices if each.number in one.parts]
    return next((near for each in parts for near in each.neighbours), None)


def _slices(run: Any, findings: Findings, folder: Path) -> Any:
    """The artifact of what the run found. Its files stay where they are: W&B need not copy what nobody changes."""
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
