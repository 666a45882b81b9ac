"""Examples as a person would look at them: picture, text or record, what was right, what the model said."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from weakspot.predictions import Predictions
from weakspot.report.numbers import plain
from weakspot.report.passages import Segment, marked, said
from weakspot.report.thumbnails import Thumbnail, Thumbnails
from weakspot.tasks import QuestionAnswering

Preview = Callable[[int], Any]
Cams = Callable[[Sequence[int]], Sequence[Image.Image]]


@dataclass(frozen=True)
class Example:
    """One row of the record; None where the record or the dataset has nothing to say.

    weight   in the slice it is shown for; None where that says nothing (a cluster's member, a neighbour)
    passage  the text that an answer is looked for in, with the answer and the model's marked
    cam      the Grad-CAM overlay of its picture
    """

    id: str
    weight: float | None
    label: str | None
    prediction: str | None
    wrong: bool | None
    loss: float | None
    attributes: Mapping[str, Any]
    picture: Thumbnail | None
    text: str | None
    record: Mapping[str, Any] | None
    passage: Sequence[Segment] = ()
    cam: Thumbnail | None = None

    @property
    def facts(self) -> list[str]:
        """The attributes that the record does not show, in few words: of those that are yes or no the names of those
        that are yes, numbers by name, anything else by itself.
        """
        shown = self.record or {}
        return [
            _fact(name, value)
            for name, value in self.attributes.items()
            if name not in shown and value is not False and value != "no"
        ]


def _fact(name: str, value: Any) -> str:
    if value is True or value == "yes":
        return name
    return f"{name} {plain(value)}" if isinstance(value, (int, float)) else plain(value)


class Exhibits:
    """Makes examples of rows; each row is looked at once, however many slices show it."""

    def __init__(
        self,
        predictions: Predictions,
        correct: np.ndarray | None,
        preview: Preview | None,
        cams: Cams | None,
        thumbnails: Thumbnails,
    ) -> None:
        self.predictions = predictions
        self.correct = correct
        self.preview = preview
        self.cams = cams
        self.thumbnails = thumbnails
        self._seen: dict[int, Example] = {}
        self._overlays: dict[int, Thumbnail] = {}

    def show(self, rows: Sequence[int], weights: np.ndarray | None = None) -> list[Example]:
        """The rows in the order given, with the weights (n,) of their slice, without overlays."""
        self._look(rows)
        shown = [self._seen[row] for row in rows]
        if weights is None:
            return shown
        return [
            replace(example, weight=float(weights[row])) for example, row in zip(shown, rows, strict=True)
        ]

    def explain(self, rows: Sequence[int], weights: np.ndarray | None = None) -> list[Example]:
        """As `show`, with Grad-CAM overlays where they can be made."""
        new = [row for row in dict.fromkeys(rows) if row not in self._overlays]
        if self.cams is not None and new:
            for row, overlay in zip(new, self.cams(new), strict=True):
                self._overlays[row] = self.thumbnails.add(overlay)
        return [
            replace(example, cam=self._overlays.get(row))
            for example, row in zip(self.show(rows, weights), rows, strict=True)
        ]

    def _look(self, rows: Sequence[int]) -> None:
        new = [row for row in dict.fromkeys(rows) if row not in self._seen]
        p = self.predictions
        table = p.attributes.take(pa.array(new, pa.int64())).to_pylist() if p.attributes.column_names else []
        for place, row in enumerate(new):
            shown = self.preview(row) if self.preview is not None else None
            answers, passage = _answers(p, row, shown)
            self._seen[row] = Example(
                id=str(p.ids[row]),
                weight=None,
                label=answers.get("label", _named(p, p.labels, row)),
                prediction=answers.get("prediction", _named(p, p.predictions, row)),
                wrong=None if self.correct is None else not bool(self.correct[row]),
                loss=None if p.losses is None else float(p.losses[row]),
                attributes=table[place] if table else {},
                picture=self.thumbnails.add(shown) if isinstance(shown, Image.Image) else None,
                text=shown if isinstance(shown, str) else None,
                record=_record(shown),
                passage=passage,
            )


def _named(predictions: Predictions, values: np.ndarray | None, row: int) -> str | None:
    """A label or prediction in words; a multilabel one as the names of its categories."""
    if values is None:
        return None
    classes, value = predictions.classes(), values[row]
    if np.ndim(value) == 1:
        return predictions.name_of(values, row)
    if np.issubdtype(values.dtype, np.integer) and 0 <= int(value) < len(classes):
        return classes[int(value)]
    return f"{value:.4g}"


def _record(shown: Any) -> Mapping[str, Any] | None:
    """A record as it is listed; a passage is shown by itself."""
    if not isinstance(shown, Mapping):
        return None
    return {name: value for name, value in shown.items() if name != "context"}


def _answers(predictions: Predictions, row: int, shown: Any) -> tuple[dict[str, str], Sequence[Segment]]:
    """For question answering, label and prediction in words, and the passage with both marked."""
    passage = shown.get("context") if isinstance(shown, Mapping) else None
    if not isinstance(passage, str) or not isinstance(predictions.task, QuestionAnswering):
        return {}, ()
    given = {"label": predictions.labels, "prediction": predictions.predictions}
    spans = {
        name: (int(values[row, 0]), int(values[row, 1]))
        for name, values in given.items()
        if values is not None
    }
    words = {name: said(passage, span) for name, span in spans.items()}
    return words, marked(passage, spans.get("label"), spans.get("prediction"))
