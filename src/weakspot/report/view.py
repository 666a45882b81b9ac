"""What the page says of each slice, taken from the records and ready to be laid out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from weakspot.explain.attributes import Categorical, Enrichment, categorise, rank
from weakspot.predictions import Predictions
from weakspot.report.confusion import Confusion, confusion
from weakspot.report.figures import Curve, curves
from weakspot.report.thumbnails import Thumbnail, Thumbnails
from weakspot.slices import Slices

Preview = Callable[[int], Any]
Cams = Callable[[Sequence[int]], Sequence[Image.Image]]

_EXAMPLES = 24
_NOUNS = {"spotlight": "Spotlight", "udis": "Cluster"}
_TELLING = 1.2  # a lift below this names nothing


@dataclass(frozen=True)
class Example:
    """One example of a slice; `wrong` is None where the record does not know."""

    id: str
    weight: float
    label: str | None
    prediction: str | None
    wrong: bool | None
    loss: float | None
    attributes: Mapping[str, Any]
    picture: Thumbnail | None
    text: str | None
    record: Mapping[str, Any] | None
    cam: Thumbnail | None


@dataclass(frozen=True)
class SliceView:
    """One slice as the page shows it."""

    name: str
    anchor: str
    statistics: Mapping[str, Any]
    enrichments: Sequence[Enrichment]
    confusion: Confusion | None
    curves: Sequence[Curve]
    examples: Sequence[Example]
    members: int

    @property
    def telling(self) -> Enrichment | None:
        """The attribute value that names the slice, if one stands out."""
        best = self.enrichments[0] if self.enrichments else None
        return best if best is not None and best.lift >= _TELLING else None


def views(
    predictions: Predictions,
    slices: Slices,
    preview: Preview | None,
    cams: Cams | None,
    thumbnails: Thumbnails,
) -> list[SliceView]:
    """Every slice in the method's order."""
    columns = categorise(predictions.attributes)
    noun = _NOUNS.get(slices.method, "Slice")
    return [
        _view(j, f"{noun} {j + 1}", columns, predictions, slices, preview, cams, thumbnails)
        for j in range(len(slices))
    ]


def _view(
    j: int,
    name: str,
    columns: Sequence[Categorical],
    predictions: Predictions,
    slices: Slices,
    preview: Preview | None,
    cams: Cams | None,
    thumbnails: Thumbnails,
) -> SliceView:
    weights = np.asarray(slices.weights[j], dtype=np.float64)
    rows = heaviest(weights, predictions)
    statistics = slices.statistics[j]
    return SliceView(
        name=name,
        anchor=f"slice-{j + 1}",
        statistics=statistics,
        enrichments=rank(weights, columns, predictions.counts),
        confusion=confusion(statistics.get("confusion") or (), predictions.classes()),
        curves=curves(slices.histories[j]) if slices.histories else [],
        examples=examples(rows, weights, predictions, preview, cams, thumbnails),
        members=int((weights > 0).sum()),
    )


def heaviest(weights: np.ndarray, predictions: Predictions, top: int = _EXAMPLES) -> np.ndarray:
    """The rows of the highest weights; among equals the highest loss first, then the order of the record."""
    members = np.flatnonzero(weights > 0)
    losses = np.zeros(len(members)) if predictions.losses is None else predictions.losses[members]
    return members[np.lexsort((-losses, -weights[members]))][:top]


def examples(
    rows: np.ndarray,
    weights: np.ndarray,
    predictions: Predictions,
    preview: Preview | None,
    cams: Cams | None,
    thumbnails: Thumbnails,
) -> list[Example]:
    """The given rows as a person would look at them, with their Grad-CAM overlays where `cams` makes them."""
    overlays = list(cams(rows.tolist())) if cams is not None and len(rows) else [None] * len(rows)
    table = (
        predictions.attributes.take(pa.array(rows)).to_pylist() if predictions.attributes.column_names else []
    )
    found = []
    for place, row in enumerate(rows.tolist()):
        shown = preview(row) if preview is not None else None
        overlay = overlays[place]
        found.append(
            Example(
                id=str(predictions.ids[row]),
                weight=float(weights[row]),
                label=_named(predictions, predictions.labels, row),
                prediction=_named(predictions, predictions.predictions, row),
                wrong=None if predictions.correct is None else not bool(predictions.correct[row]),
                loss=None if predictions.losses is None else float(predictions.losses[row]),
                attributes=table[place] if table else {},
                picture=thumbnails.add(shown) if isinstance(shown, Image.Image) else None,
                text=shown if isinstance(shown, str) else None,
                record=shown if isinstance(shown, Mapping) else None,
                cam=thumbnails.add(overlay) if overlay is not None else None,
            )
        )
    return found


def _named(predictions: Predictions, values: np.ndarray | None, row: int) -> str | None:
    """A label or prediction in words; a multilabel one as the names of its categories."""
    if values is None:
        return None
    classes, value = predictions.classes(), values[row]
    if np.ndim(value) == 1:
        return ", ".join(classes[column] for column in np.flatnonzero(value)) or "none"
    if np.issubdtype(values.dtype, np.integer) and 0 <= int(value) < len(classes):
        return classes[int(value)]
    return f"{value:.4g}"
