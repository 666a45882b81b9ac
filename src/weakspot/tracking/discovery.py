"""A finished discovery, sent to whichever logger the run has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from weakspot.explain.attributes import Enrichment
from weakspot.explain.words import Word
from weakspot.predictions import Predictions
from weakspot.slices import Slices
from weakspot.slices.statistics import SliceStatistics

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

EXAMPLES = 24
"""Highest-weight examples of each slice that are sent with their pictures."""

_POINTS = 300  # of a curve: more cannot be told apart on a dashboard
_WEIGHT_ROWS = 100_000  # of the table; the artifact holds all


@dataclass(frozen=True, eq=False)
class Discovery:
    """What a method found, with all that is told about it.

    enrichments   per slice, the attribute values it has too many of
    preview       the picture, text or record of a row, or None
    cams          one Grad-CAM overlay per row, or None
    report, slices_folder   files of the run's folder
    words         per slice of texts, its distinctive words
    """

    predictions: Predictions
    slices: Slices
    enrichments: Sequence[Sequence[Enrichment]]
    preview: Callable[[int], Any] | None
    cams: Callable[[Sequence[int]], list[Image.Image]] | None
    report: Path
    slices_folder: Path
    words: Sequence[Sequence[Word]] = ()

    def brightest(self, j: int, most: int = EXAMPLES) -> np.ndarray:
        """Rows of the highest weights in slice j, heaviest first, those without weight left out."""
        weights = self.slices.weights[j]
        rows = np.argsort(-weights, kind="stable")[:most]
        bright: np.ndarray = rows[weights[rows] > 0]
        return bright

    def scalars(self) -> Iterator[tuple[str, float]]:
        """`slice_1/size`, `slice_1/loss_inside`, … for every plain number of every slice."""
        for j, statistics in enumerate(self.slices.statistics):
            for name, value in _numbers(statistics).items():
                yield f"slice_{j + 1}/{name}", value

    def curves(self) -> Iterator[tuple[int, int, Mapping[str, float]]]:
        """(slice, step, values) of the search, thinned evenly to a few hundred steps."""
        for j, history in enumerate(self.slices.histories):
            arrays = {name: np.asarray(values) for name, values in history.items() if np.ndim(values) == 1}
            length = min((len(values) for values in arrays.values()), default=0)
            for step in (
                np.unique(np.linspace(0, length - 1, min(length, _POINTS)).astype(int)) if length else ()
            ):
                yield j, int(step), {name: float(values[step]) for name, values in arrays.items()}


def log_discovery(logger: Logger | None, discovery: Discovery) -> None:
    """Send a discovery to the run's logger; everything it shows stands in the run's folder too."""
    if logger is None:
        return
    from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger

    match logger:
        case WandbLogger():
            _to_wandb(logger.experiment, discovery)
        case TensorBoardLogger():
            _log_curves(logger, discovery)
            _to_tensorboard(logger.experiment, discovery)
        case _:
            _log_curves(logger, discovery)
    logger.finalize("success")


def _log_curves(logger: Logger, discovery: Discovery) -> None:
    for j, step, values in discovery.curves():
        logger.log_metrics({f"slice_{j + 1}/search/{name}": value for name, value in values.items()}, step)
    logger.log_metrics(dict(discovery.scalars()))


def _to_tensorboard(writer: Any, discovery: Discovery) -> None:
    for j in range(len(discovery.slices)):
        pictures = [_picture(discovery, row) for row in discovery.brightest(j)]
        for rank, picture in enumerate(picture for picture in pictures if isinstance(picture, Image.Image)):
            pixels = np.asarray(picture.convert("RGB"))
            writer.add_image(f"slice_{j + 1}/examples", pixels, global_step=rank, dataformats="HWC")
        lines = (
            f"| {e.attribute} | {e.value} | {e.share_inside:.3f} | {e.share_outside:.3f} | {e.lift:.2f} |"
            for e in discovery.enrichments[j]
        )
        head = "| attribute | value | share inside | share outside | lift |\n|---|---|---|---|---|\n"
        writer.add_text(f"slice_{j + 1}/attributes", head + "\n".join(lines))


def _to_wandb(run: Any, discovery: Discovery) -> None:
    import wandb

    slices, predictions = discovery.slices, discovery.predictions
    for j, step, values in discovery.curves():
        name = f"slice_{j + 1}/search"
        if step == 0:
            run.define_metric(f"{name}/step", hidden=True)
            run.define_metric(f"{name}/*", step_metric=f"{name}/step")
        run.log({f"{name}/step": step} | {f"{name}/{key}": value for key, value in values.items()})
    run.summary.update(dict(discovery.scalars()))

    examples = [row for j in range(len(slices)) for row in _examples(discovery, j, wandb)]
    attributes = [
        [j + 1, e.attribute, e.value, e.share_inside, e.share_outside, min(e.lift, 1e9), e.weight]
        for j, found in enumerate(discovery.enrichments)
        for e in found
    ]
    confusion = [
        [j + 1, cell.label, cell.prediction, cell.weight]
        for j, statistics in enumerate(slices.statistics)
        for cell in statistics.confusion
    ]
    heaviest = np.argsort(-slices.weights.max(axis=0, initial=0), kind="stable")[:_WEIGHT_ROWS]
    weights = [[str(predictions.ids[row]), *map(float, slices.weights[:, row])] for row in heaviest]
    names = [f"slice_{j + 1}" for j in range(len(slices))]
    tables = {
        "slices": _table_of_statistics(slices),
        "examples": (
            ["slice", "example", "grad_cam", "id", "weight", "label", "prediction", "correct", "loss"],
            examples,
        ),
        "attributes": (
            ["slice", "attribute", "value", "share_inside", "share_outside", "lift", "weight"],
            attributes,
        ),
        "confusion": (["slice", "label", "prediction", "weight"], confusion),
        "weights": (["id", *names], weights),
    }
    if discovery.words:
        said = [
            [j + 1, word.text, word.share_inside, word.share_outside, word.contrast]
            for j, found in enumerate(discovery.words)
            for word in found
        ]
        tables["words"] = (["slice", "word", "share_inside", "share_outside", "contrast"], said)
    page = wandb.Html(discovery.report.read_text(encoding="utf-8"), inject=False)
    run.log({name: wandb.Table(columns=[*columns], data=rows) for name, (columns, rows) in tables.items()})
    run.log({"report": page})

    artifact = wandb.Artifact(f"slices-{run.id}", type="slices", metadata={"method": slices.method})
    artifact.add_dir(str(discovery.slices_folder))
    artifact.add_file(str(discovery.report))
    run.log_artifact(artifact)


def _numbers(statistics: SliceStatistics) -> dict[str, float]:
    """The plain numbers of a slice and of its cluster, by name."""
    told = vars(statistics) | (vars(statistics.cluster) if statistics.cluster else {})
    return {name: float(value) for name, value in told.items() if isinstance(value, (int, float))}


def _table_of_statistics(slices: Slices) -> tuple[list[str], list[list[Any]]]:
    plain = [_numbers(statistics) for statistics in slices.statistics]
    columns = list(dict.fromkeys(name for statistics in plain for name in statistics))
    rows = [[j + 1, *(statistics.get(name) for name in columns)] for j, statistics in enumerate(plain)]
    return ["slice", *columns], rows


def _examples(discovery: Discovery, j: int, wandb: Any) -> Iterator[list[Any]]:
    """The brightest examples of slice j as rows of a table, each with what the model looked at."""
    p, rows = discovery.predictions, discovery.brightest(j)
    overlays = [None] * len(rows) if discovery.cams is None else discovery.cams(rows.tolist())
    for row, overlay in zip(rows, overlays, strict=True):
        shown = _picture(discovery, row)
        yield [
            j + 1,
            wandb.Image(shown) if isinstance(shown, Image.Image) else shown,
            None if overlay is None else wandb.Image(overlay),
            str(p.ids[row]),
            float(discovery.slices.weights[j, row]),
            p.name_of(p.labels, row),
            p.name_of(p.predictions, row),
            None if p.correct is None else bool(p.correct[row]),
            None if p.losses is None else float(p.losses[row]),
        ]


def _picture(discovery: Discovery, row: int) -> Any:
    """What a person would look at: a picture as it is, anything else as text."""
    if discovery.preview is None:
        return None
    shown = discovery.preview(int(row))
    return shown if isinstance(shown, Image.Image) else str(shown)
