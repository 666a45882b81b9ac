"""Examples as the page shows them: image, text or record beside what is known of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weakspot.explain.image_properties import PREFIX
from weakspot.findings import Findings, Media
from weakspot.findings.numbers import plain
from weakspot.findings.record import Example
from weakspot.report.passages import Segment, marked, said
from weakspot.report.thumbnails import Thumbnail, Thumbnails


@dataclass(frozen=True)
class Exhibit:
    """An example with what there is to look at.

    Attributes:
        example: What is known of it.
        weight: In the slice that it is shown for; None where that says nothing (a cluster's member).
        label, prediction: As shown: of an answer, the words of the passage.
        image, cam: Thumbnails; None where there are none.
        text, record: Of texts and of rows of values.
        passage: The text that an answer is looked for in, with the answer and the model's marked.
    """

    example: Example
    weight: float | None
    label: str | None
    prediction: str | None
    image: Thumbnail | None = None
    cam: Thumbnail | None = None
    text: str | None = None
    record: Mapping[str, Any] | None = None
    passage: Sequence[Segment] = ()

    @property
    def facts(self) -> list[str]:
        """The attributes that the record does not show, in few words: of those that are yes or no the names of
        those that are yes, numbers by name, anything else by itself; not what the image shows anyway.
        """
        shown = self.record or {}
        return [
            _fact(name, value)
            for name, value in self.example.attributes.items()
            if name not in shown
            and not name.startswith(PREFIX)
            and value is not None
            and value is not False
            and value != "no"
        ]


def _fact(name: str, value: Any) -> str:
    if value is True or value == "yes":
        return name
    return f"{name} {plain(value)}" if isinstance(value, int | float) else plain(value)


class Exhibits:
    """Makes exhibits of rows; the images of each are embedded once, however many slices show it."""

    def __init__(self, findings: Findings, media: Media, thumbnails: Thumbnails) -> None:
        self.findings = findings
        self.media = media
        self.thumbnails = thumbnails

    def show(
        self, rows: Sequence[int], weights: Sequence[float] | None = None, cams: bool = False
    ) -> list[Exhibit]:
        """The rows in the order given.

        Args:
            rows: Of examples in the findings.
            weights: Of each row, in the slice that it is shown for.
            cams: Whether Grad-CAM overlays are shown, where there are any.

        Returns:
            One exhibit per row.
        """
        overlays = self.media.cams(rows) if cams else [None] * len(rows)
        given: Sequence[float | None] = weights or [None] * len(rows)
        return [
            self._exhibit(row, weight, None if overlay is None else self.thumbnails.add(overlay))
            for row, weight, overlay in zip(rows, given, overlays, strict=True)
        ]

    def _exhibit(self, row: int, weight: float | None, cam: Thumbnail | None) -> Exhibit:
        example, image = self.findings.example(row), self.media.image(row)
        label, prediction = example.label, example.prediction
        record, passage = self.media.record(row), None
        if record is not None:
            passage = record.get("context") if example.label_span or example.prediction_span else None
            record = {name: value for name, value in record.items() if name != "context"}
        segments: Sequence[Segment] = ()
        if isinstance(passage, str):
            label = label if example.label_span is None else said(passage, example.label_span)
            prediction = (
                prediction if example.prediction_span is None else said(passage, example.prediction_span)
            )
            segments = marked(passage, example.label_span, example.prediction_span)
        return Exhibit(
            example,
            weight,
            label,
            prediction,
            image=None if image is None else self.thumbnails.add(image),
            cam=cam,
            text=self.media.text(row),
            record=record,
            passage=segments,
        )
