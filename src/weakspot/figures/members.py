"""The members of a slice by weight: images over their Grad-CAMs, or texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from weakspot.figures.lettering import line, lines, width
from weakspot.figures.style import FAINT, INK, QUIET, SMALL, VERMILION, WIDTH, bare, style
from weakspot.findings import Finding, Findings, Media, numbers
from weakspot.findings.record import Example, Neighbour, Slice
from weakspot.images import over, viewable

_HEADING = 0.16  # inches of a row of words over a grid
_CAPTION = 0.1  # and of a line below each image
_GAP = 0.05
_FINE = 5  # points, of captions
_LINE = 0.095  # inches of a line of text
_ACROSS = WIDTH - 0.12  # inches of it
_LINES = 3  # of a text, at most


@style()
def members(
    findings: Findings, media: Media, group: Finding | Slice, rows: int = 2, columns: int = 5
) -> Figure:
    """The heaviest members of a finding or a slice; those that the model gets wrong are framed.

    Below each image stands its Grad-CAM, where there are any, then its label and what the model took it for, and its
    weight where weights differ. Images of the nearest cluster that is served well follow, where there is one. Of texts
    and records there are the first lines.

    Args:
        findings: Of a run.
        media: Previews and Grad-CAMs.
        group: One of `findings.findings` or of `findings.slices`.
        rows, columns: Of images; rows x columns texts are shown, where there are texts.

    Returns:
        The figure, a column wide.

    Raises:
        ValueError: If there is nothing to look at.
    """
    top = list(group.portrait.top[: rows * columns])
    if not any(media.preview(row) is not None for row in top):
        raise ValueError(f"there is nothing to look at in {group.name}: no dataset, or one without previews")
    weights = list(group.portrait.weights[: len(top)]) if group.portrait.soft else None
    if media.image(top[0]) is None:
        return _listed(findings, media, group, top, weights)
    parts: list[tuple[str, Sequence[int], Sequence[float] | None]] = [(_heading(group), top, weights)]
    parts += [(_served(one), one.rows[:columns], None) for one in _neighbours(findings, group)[:1]]
    return _grid(findings, media, parts, columns)


def _heading(group: Finding | Slice) -> str:
    said = f": {numbers.count(group.portrait.size)} examples"
    accuracy = group.accuracy if isinstance(group, Finding) else None
    if accuracy is not None:
        said += f", {numbers.percent(accuracy.inside)} right"
        if accuracy.interval is not None:
            said += " ({} to {})".format(*map(numbers.percent, accuracy.interval))
    return line(group.name, WIDTH - 0.05 - width(said, 6.5), 6.5) + said


def _served(neighbour: Neighbour) -> str:
    said = f"{numbers.count(neighbour.size)} examples, {numbers.percent(neighbour.accuracy)} right"
    return f"The nearest cluster that is served well: {said}"


def _neighbours(findings: Findings, group: Finding | Slice) -> Sequence[Neighbour]:
    """The well-served clusters nearest to a failing one: of a finding, to the first of its slices."""
    if isinstance(group, Slice):
        return group.neighbours
    return findings.slices[group.parts[0] - 1].neighbours if group.parts else ()


def _grid(
    findings: Findings,
    media: Media,
    parts: Sequence[tuple[str, Sequence[int], Sequence[float] | None]],
    columns: int,
) -> Figure:
    """Images at their places in inches, on axes as large as the figure."""
    side = (WIDTH - _GAP * (columns - 1)) / columns
    lines = 1 if all(weights is None for _, _, weights in parts) else 2
    cell = side * (2 if media.has_cams else 1) + _CAPTION * lines + _GAP
    height = sum(_HEADING + cell * -(-len(rows) // columns) for _, rows, _ in parts)
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0, 0, 1, 1))
    bare(axes)
    axes.set(xlim=(0, WIDTH), ylim=(height, 0))
    y = 0.0
    for heading, rows, weights in parts:
        axes.text(0.01, y + _HEADING / 2, heading, va="center")
        y += _HEADING
        overlays = media.cams(rows)
        for i, row in enumerate(rows):
            x, top = (i % columns) * (side + _GAP), y + (i // columns) * cell
            example = findings.example(row)
            below = _image(axes, media.image(row), x, top, side, example.wrong)
            if media.has_cams:
                below = _image(axes, overlays[i], x, below, side, example.wrong)
            said = _caption(example, None if weights is None else weights[i], side)
            axes.text(
                x + side / 2, below + 0.02, said, va="top", ha="center", fontsize=_FINE, linespacing=1.1
            )
        y += cell * -(-len(rows) // columns)
    axes.set(xlim=(0, WIDTH), ylim=(height, 0), aspect="auto")  # images have changed them
    return figure


def _image(
    axes: Axes, image: Image.Image | None, x: float, y: float, side: float, wrong: bool | None
) -> float:
    """An image as large as a square allows, and where the next one below begins."""
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
    colour = VERMILION if wrong else FAINT
    axes.add_patch(
        Rectangle(corner, side - frame, side - frame, fill=False, edgecolor=colour, linewidth=72 * frame)
    )
    return y + side


def _caption(example: Example, weight: float | None, inches: float) -> str:
    said = _said(example.label, example.prediction, inches)
    return said if weight is None else f"{said}\nweight {numbers.decimal(weight)}"


def _said(label: str | None, prediction: str | None, inches: float) -> str:
    """The label, and what the model took it for where that is another."""
    if label is None or prediction is None or label == prediction:
        return line(label or prediction or "", inches, _FINE)
    room = inches - width(" → ", _FINE)
    first = line(label, max(room / 2, room - width(prediction, _FINE)), _FINE)
    return f"{first} → {line(prediction, room - width(first, _FINE), _FINE)}"


def _listed(
    findings: Findings,
    media: Media,
    group: Finding | Slice,
    top: Sequence[int],
    weights: Sequence[float] | None,
) -> Figure:
    """Texts below each other, each with its label and what the model took it for."""
    blocks = []
    for i, row in enumerate(top):
        example = findings.example(row)
        said = _said(_answer(media, row, example, "label"), _answer(media, row, example, "prediction"), 2)
        weight = "" if weights is None else f" · weight {numbers.decimal(weights[i])}"
        loss = "" if example.loss is None else f" · loss {numbers.decimal(example.loss)}"
        words = lines(_words(media.preview(row)), _ACROSS, SMALL, _LINES)
        blocks.append((f"{said}{weight}{loss}", words, example.wrong))
    height = _HEADING + sum(_LINE * (1 + len(words)) + _GAP for _, words, _ in blocks)
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0, 0, 1, 1))
    bare(axes)
    axes.set(xlim=(0, WIDTH), ylim=(height, 0))
    axes.text(0.01, _HEADING / 2, _heading(group), va="center")
    y = _HEADING
    for said, words, wrong in blocks:
        end = y + _LINE * (1 + len(words))
        axes.plot([0.02, 0.02], [y, end], color=VERMILION if wrong else FAINT, linewidth=1.5)
        axes.text(0.06, y + _LINE / 2, said, va="center", fontsize=_FINE, color=QUIET)
        for i, row_of_words in enumerate(words):
            axes.text(0.06, y + _LINE * (i + 1.5), row_of_words, va="center", fontsize=SMALL, color=INK)
        y = end + _GAP
    return figure


def _words(preview: Any) -> str:
    """A text, or the values of a record: of what is yes or no the names of what is yes; of a question, not the
    passage that it is asked of."""
    if isinstance(preview, str):
        return preview
    said = []
    for name, value in dict(preview or {}).items():
        if value is True or value == "yes":
            said.append(name)
        elif name != "context" and value is not None and value is not False and value != "no":
            said.append(f"{name}: {numbers.plain(value)}")
    return " · ".join(said)


def _answer(media: Media, row: int, example: Example, which: str) -> str | None:
    """A label or a prediction in words: of an answer, those of the passage."""
    span: tuple[int, int] | None = getattr(example, f"{which}_span")
    passage = (media.record(row) or {}).get("context")
    if span is None or not isinstance(passage, str):
        said: str | None = getattr(example, which)
        return said
    return passage[span[0] : span[1]] or "no answer"
