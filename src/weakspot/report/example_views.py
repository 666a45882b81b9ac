"""Examples as the page shows them: the image, text or record of each, with its label and prediction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weakspot.explain.image_properties import PREFIX
from weakspot.findings import Findings, Media
from weakspot.findings.entries import Example
from weakspot.findings.numbers import format_value
from weakspot.legible import LONGEST_TEXT
from weakspot.report.answer_passages import Segment, highlight_answers, span_text
from weakspot.report.thumbnails import Thumbnail, Thumbnails

SHORT_LIST_LENGTH = 12
"""How many examples are shown of an unconfirmed finding, and of a slice whose confirmed finding shows its own."""

_AT_ONCE = 48  # Grad-CAMs that are made together


@dataclass(frozen=True)
class ExampleView:
    """Holds an example with its preview.

    Attributes:
        example: The example.
        weight: Its weight in the finding or slice that it is shown for; None if all that are shown have weight 1.
        label, prediction: Label and prediction as they are shown; for an answer, the words of the passage.
        image, cam: Thumbnails; None if there are none, or if the page has no room for them.
        text, record: The preview of a text, or of a row of values.
        passage: The passage that the question is about, with the answer and the model's answer highlighted.
        is_image: Whether the example is an image, even if there is no room for it.
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
    is_image: bool = False

    @property
    def facts(self) -> list[str]:
        """The attributes that the preview does not show, in few words.

        A yes/no attribute is listed by name if it is yes, a number with its name, and any other value by itself.
        Properties that are measured in the image are left out.
        """
        shown = self.record or {}
        return [
            _fact(name, value)
            for name, value in self.example.attributes.items()
            if name not in shown
            and not name.startswith(PREFIX)
            and (self.text is None or value != self.text)
            and value is not None
            and value is not False
            and value != "no"
        ]


def _fact(name: str, value: Any) -> str:
    """Return an attribute in few words: its name if it is yes, otherwise its value, with the name if it is a number."""
    if value is True or value == "yes":
        return name
    return f"{name} {format_value(value)}" if isinstance(value, int | float) else format_value(value)


def images_by_priority(
    findings: Findings, members: Sequence[Sequence[int]] = ()
) -> Iterator[tuple[Sequence[int], bool]]:
    """Yield rows whose images the page shows, in the order in which a reader looks at them.

    Args:
        findings: The findings that the page shows.
        members: All members of each finding and slice, if they are shown.

    Yields:
        Rows, and whether they are shown with their Grad-CAMs.
    """
    ranked = sorted(findings.findings, key=lambda finding: not finding.confirmed)
    for cams in (False, True):
        for finding in ranked:
            yield finding.portrait.top[:SHORT_LIST_LENGTH], cams
    confirmed = {finding.number for finding in ranked if finding.confirmed}
    for finding in ranked:
        yield finding.portrait.top[: None if finding.confirmed else SHORT_LIST_LENGTH], True
        for neighbour in findings.slices[finding.parts[0] - 1].neighbours if finding.parts else ():
            yield neighbour.rows, True
    for one in findings.slices:
        yield one.portrait.top[: SHORT_LIST_LENGTH if one.finding in confirmed else None], True
        for neighbour in one.neighbours:
            yield neighbour.rows, True
    for cluster in findings.clusters:
        yield cluster.rows, False
    for rows in members:
        yield rows, False


class ExampleViews:
    """Makes the views of examples; the images of each are embedded once, however many slices show it.

    Args:
        findings: The findings, which describe the examples.
        media: Previews and Grad-CAMs.
        most: Characters that all images may take; those that `images_by_priority` yields first are shown.
        members: All members of each finding and slice, if they are shown.
    """

    def __init__(
        self, findings: Findings, media: Media, most: int, members: Sequence[Sequence[int]] = ()
    ) -> None:
        self.findings = findings
        self.media = media
        wanted = list(images_by_priority(findings, members))
        images = {row for rows, _ in wanted for row in rows}
        with_cam = {row for rows, cams in wanted if cams for row in rows} if media.has_cams else set()
        self.thumbnails = Thumbnails(most, len(images) + len(with_cam))
        self._images: dict[int, Thumbnail] = {}
        self._cams: dict[int, Thumbnail] = {}
        for rows, cams in wanted:
            self._add_images(rows, cams)
        self.left_out = (
            len(images) - len(self._images) + len(with_cam) - len(self._cams) if self.thumbnails.full else 0
        )

    def _add_images(self, rows: Sequence[int], cams: bool) -> None:
        """Add the images of rows, as long as the page has room."""
        for row in rows:
            if row in self._images or self.thumbnails.full:
                continue
            image = self.media.image(row)
            thumbnail = None if image is None else self.thumbnails.add(image)
            if thumbnail is not None:
                self._images[row] = thumbnail
        if not cams or self.thumbnails.full:
            return
        for start in range(0, len(rows), _AT_ONCE):
            some = [] if self.thumbnails.full else rows[start : start + _AT_ONCE]
            for row, overlay in zip(some, self.media.cams(some), strict=True):
                thumbnail = None if overlay is None else self.thumbnails.add(overlay)
                if thumbnail is not None:
                    self._cams[row] = thumbnail

    def show(
        self, rows: Sequence[int], weights: Sequence[float] | None = None, cams: bool = False
    ) -> list[ExampleView]:
        """Return views of some rows, in the order given.

        Args:
            rows: Rows of examples in the findings.
            weights: The weight of each row in the slice that it is shown for.
            cams: Whether Grad-CAM overlays are shown, if there are any.

        Returns:
            One view per row.
        """
        given: Sequence[float | None] = weights or [None] * len(rows)
        return [
            self._view_of(row, weight, self._cams.get(row) if cams else None)
            for row, weight in zip(rows, given, strict=True)
        ]

    def _view_of(self, row: int, weight: float | None, cam: Thumbnail | None) -> ExampleView:
        example, image = self.findings.example(row), self._images.get(row)
        if image is not None or (self.thumbnails.full and self._images):
            return ExampleView(
                example, weight, example.label, example.prediction, image=image, cam=cam, is_image=True
            )
        label, prediction = example.label, example.prediction
        record, text, passage = self.media.record(row), self.media.text(row), None
        if record is not None:
            passage = record.get("context") if example.label_span or example.prediction_span else None
            record = {name: value for name, value in record.items() if name != "context"}
        segments: Sequence[Segment] = ()
        if isinstance(passage, str):
            label = label if example.label_span is None else span_text(passage, example.label_span)
            prediction = (
                prediction if example.prediction_span is None else span_text(passage, example.prediction_span)
            )
            segments = highlight_answers(passage, example.label_span, example.prediction_span)
        return ExampleView(
            example,
            weight,
            label,
            prediction,
            text=None if text is None else text[:LONGEST_TEXT] + "\u00a0…" * (len(text) > LONGEST_TEXT),
            record=record,
            passage=segments,
        )
