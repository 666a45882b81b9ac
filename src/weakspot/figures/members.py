"""Draws the members of a finding or a slice by weight: images over their Grad-CAMs, or texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from weakspot.figures.style import DARK_GREY, LIGHT_GREY, MID_GREY, SMALL, VERMILION, WIDTH, hide_axes, style
from weakspot.figures.text_fitting import fit_line, text_width, wrap_lines
from weakspot.findings import Finding, Findings, Media, numbers
from weakspot.findings.entries import Example, Neighbour, Slice
from weakspot.images import over, viewable

_HEADING = 0.16  # inches: the height of the heading of a grid
_CAPTION = 0.1  # inches: the height of a line below an image
_GAP = 0.05  # inches between two images
_FINE = 5  # points: the size of captions
_LINE = 0.095  # inches: the height of a line of text
_TEXT_WIDTH = WIDTH - 0.12  # inches
_LINES = 3  # the maximum for a text


@style()
def members(
    findings: Findings, media: Media, group: Finding | Slice, rows: int = 2, columns: int = 5
) -> Figure:
    """Draw the largest-weight members of a finding or a slice; those that the model gets wrong are framed in vermilion.

    Below each image are its Grad-CAM, if there is one, its label and prediction, and its weight if weights differ.
    Images of the nearest well-served cluster follow, if there is one. For texts and records, the first lines are drawn.

    Args:
        findings: The findings of a run.
        media: Previews and Grad-CAMs.
        group: One of `findings.findings` or of `findings.slices`.
        rows, columns: Rows and columns of images; for texts, rows x columns are drawn one below the other.

    Returns:
        The figure, a column wide.

    Raises:
        ValueError: If there are no previews.
    """
    top = list(group.portrait.top[: rows * columns])
    if not any(media.preview(row) is not None for row in top):
        raise ValueError(f"there is nothing to look at in {group.name}: no dataset, or one without previews")
    weights = group.portrait.weights_to_show(len(top))
    if media.image(top[0]) is None:
        return _draw_texts(findings, media, group, top, weights)
    parts: list[tuple[str, Sequence[int], Sequence[float] | None]] = [(_heading(group), top, weights)]
    parts += [(_neighbour_heading(one), one.rows[:columns], None) for one in _neighbours(findings, group)[:1]]
    return _draw_grid(findings, media, parts, columns)


def _heading(group: Finding | Slice) -> str:
    """Return the name of a group with its size and accuracy."""
    facts = f": {numbers.extent(group.portrait.size, group.portrait.members)}"
    name, accuracy = (group.subject, group.accuracy) if isinstance(group, Finding) else (group.name, None)
    if accuracy is not None:
        facts += f", {numbers.percent(accuracy.inside)} right"
        if accuracy.interval is not None:
            facts += " ({} to {})".format(*map(numbers.percent, accuracy.interval))
    return fit_line(name, WIDTH - 0.05 - text_width(facts, 6.5), 6.5) + facts


def _neighbour_heading(neighbour: Neighbour) -> str:
    facts = f"{numbers.examples(neighbour.size)}, {numbers.percent(neighbour.accuracy)} right"
    return f"The nearest cluster that is served well: {facts}"


def _neighbours(findings: Findings, group: Finding | Slice) -> Sequence[Neighbour]:
    """Return the well-served clusters nearest to a failing one; for a finding, to the first of its slices."""
    if isinstance(group, Slice):
        return group.neighbours
    return findings.slices[group.parts[0] - 1].neighbours if group.parts else ()


def _draw_grid(
    findings: Findings,
    media: Media,
    parts: Sequence[tuple[str, Sequence[int], Sequence[float] | None]],
    columns: int,
) -> Figure:
    """Draw images at their places in inches, on axes as large as the figure."""
    side = (WIDTH - _GAP * (columns - 1)) / columns
    lines = 1 if all(weights is None for _, _, weights in parts) else 2
    cell = side * (2 if media.has_cams else 1) + _CAPTION * lines + _GAP
    height = sum(_HEADING + cell * -(-len(rows) // columns) for _, rows, _ in parts)
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0, 0, 1, 1))
    hide_axes(axes)
    axes.set(xlim=(0, WIDTH), ylim=(height, 0))
    y = 0.0
    for heading, rows, weights in parts:
        axes.text(0.01, y + _HEADING / 2, heading, va="center")
        y += _HEADING
        overlays = media.cams(rows)
        for i, row in enumerate(rows):
            x, top = (i % columns) * (side + _GAP), y + (i // columns) * cell
            example = findings.example(row)
            below = _draw_image(axes, media.image(row), x, top, side, example.wrong)
            if media.has_cams:
                below = _draw_image(axes, overlays[i], x, below, side, example.wrong)
            caption = _caption(example, None if weights is None else weights[i], side)
            axes.text(
                x + side / 2, below + 0.02, caption, va="top", ha="center", fontsize=_FINE, linespacing=1.1
            )
        y += cell * -(-len(rows) // columns)
    axes.set(xlim=(0, WIDTH), ylim=(height, 0), aspect="auto")  # drawing images changes the limits
    return figure


def _draw_image(
    axes: Axes, image: Image.Image | None, x: float, y: float, side: float, wrong: bool | None
) -> float:
    """Draw an image as large as a square allows, and return where the next one below it begins."""
    frame = 0.012 if wrong else 0.004
    if image is not None:
        width, height = (side * length / max(image.size) for length in image.size)
        left, top = x + (side - width) / 2, y + (side - height) / 2
        place = (left + frame, left + width - frame, top + height - frame, top + frame)
        pixelated = max(image.size) < 100
        shown = viewable(image)
        if shown.mode == "RGBA":
            shown = over(shown, "white")
        axes.imshow(shown, extent=place, interpolation="none" if pixelated else "antialiased")
    corner = (x + frame / 2, y + frame / 2)
    colour = VERMILION if wrong else LIGHT_GREY
    axes.add_patch(
        Rectangle(corner, side - frame, side - frame, fill=False, edgecolor=colour, linewidth=72 * frame)
    )
    return y + side


def _caption(example: Example, weight: float | None, inches: float) -> str:
    """Return the label and the prediction of an example, and below them its weight."""
    outcome = _label_and_prediction(example.label, example.prediction, inches)
    return outcome if weight is None else f"{outcome}\nweight {numbers.decimal(weight)}"


def _label_and_prediction(label: str | None, prediction: str | None, inches: float) -> str:
    """Return the label, followed by the prediction if it differs."""
    if label is None or prediction is None or label == prediction:
        return fit_line(label or prediction or "", inches, _FINE)
    room = inches - text_width(" → ", _FINE)
    first = fit_line(label, max(room / 2, room - text_width(prediction, _FINE)), _FINE)
    return f"{first} → {fit_line(prediction, room - text_width(first, _FINE), _FINE)}"


def _draw_texts(
    findings: Findings,
    media: Media,
    group: Finding | Slice,
    top: Sequence[int],
    weights: Sequence[float] | None,
) -> Figure:
    """Draw texts one below the other, each with its label and prediction."""
    blocks = []
    for i, row in enumerate(top):
        example = findings.example(row)
        outcome = _label_and_prediction(
            _answer(media, row, example, "label"), _answer(media, row, example, "prediction"), 2
        )
        weight = "" if weights is None else f" · weight {numbers.decimal(weights[i])}"
        loss = "" if example.loss is None else f" · loss {numbers.decimal(example.loss)}"
        text = wrap_lines(_preview_text(media.preview(row)), _TEXT_WIDTH, SMALL, _LINES)
        blocks.append((f"{outcome}{weight}{loss}", text, example.wrong))
    height = _HEADING + sum(_LINE * (1 + len(text)) + _GAP for _, text, _ in blocks)
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0, 0, 1, 1))
    hide_axes(axes)
    axes.set(xlim=(0, WIDTH), ylim=(height, 0))
    axes.text(0.01, _HEADING / 2, _heading(group), va="center")
    y = _HEADING
    for caption, text, wrong in blocks:
        end = y + _LINE * (1 + len(text))
        axes.plot([0.02, 0.02], [y, end], color=VERMILION if wrong else LIGHT_GREY, linewidth=1.5)
        axes.text(0.06, y + _LINE / 2, caption, va="center", fontsize=_FINE, color=MID_GREY)
        for i, line in enumerate(text):
            axes.text(0.06, y + _LINE * (i + 1.5), line, va="center", fontsize=SMALL, color=DARK_GREY)
        y = end + _GAP
    return figure


def _preview_text(preview: Any) -> str:
    """Return a text, or the values of a record in one line.

    A yes/no value is listed by name if it is yes. The passage of a question is left out.
    """
    if isinstance(preview, str):
        return preview
    facts = []
    for name, value in dict(preview or {}).items():
        if value is True or value == "yes":
            facts.append(name)
        elif name != "context" and value is not None and value is not False and value != "no":
            facts.append(f"{name}: {numbers.format_value(value)}")
    return " · ".join(facts)


def _answer(media: Media, row: int, example: Example, which: str) -> str | None:
    """Return a label or a prediction as text; for an answer, the words of the passage."""
    span: tuple[int, int] | None = getattr(example, f"{which}_span")
    passage = (media.record(row) or {}).get("context")
    if span is None or not isinstance(passage, str):
        name: str | None = getattr(example, which)
        return name
    return passage[span[0] : span[1]] or "no answer"
