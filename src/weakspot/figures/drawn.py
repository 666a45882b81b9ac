"""All figures that a run has something to show in, as files."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from matplotlib.figure import Figure

from weakspot.figures.accuracies import accuracies
from weakspot.figures.lengths import lengths
from weakspot.figures.members import members
from weakspot.figures.space import space
from weakspot.figures.style import save
from weakspot.figures.together import together
from weakspot.figures.tree import silhouettes, tree
from weakspot.figures.values import values
from weakspot.findings import Findings, Media
from weakspot.findings.attribute_values import distinguishing_attributes
from weakspot.findings.coloured_map import can_colour_by
from weakspot.predictions import Predictions
from weakspot.slices import Slices

log = logging.getLogger(__name__)

FOLDER = "figures"

_GROUPS = 10  # findings, and slices, whose members are drawn
_ATTRIBUTES = 6
_VALUES = 100  # of an attribute, at most: not who rated, of hundreds


def draw(
    folder: str | Path,
    kind: str,
    findings: Findings,
    predictions: Predictions | None = None,
    slices: Slices | None = None,
    media: Media | None = None,
    texts: Sequence[str] | None = None,
) -> list[Path]:
    """Write every figure that there is something to show in.

    Args:
        folder: Where to; made where it is missing.
        kind: pdf, png or svg.
        findings: Of a run.
        predictions: Its record; without it there are no maps and no tables.
        slices: What was found in it.
        media: Previews and Grad-CAMs; without them no members are shown.
        texts: What is written in each example.

    Returns:
        The files.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    every = drawn(findings, predictions, slices, media, texts)
    return [save(figure, folder / f"{name}.{kind}") for name, figure in every]


def drawn(
    findings: Findings,
    predictions: Predictions | None = None,
    slices: Slices | None = None,
    media: Media | None = None,
    texts: Sequence[str] | None = None,
) -> Iterator[tuple[str, Figure]]:
    """Every figure that there is something to show in, with its name; the arguments are those of `draw`."""
    if findings.findings:
        yield "findings", accuracies(findings)
    if findings.clusters:
        yield "tree", tree(findings)
    if len(findings.cut_scores) > 1:
        yield "silhouettes", silhouettes(findings)
    if findings.whole.pairs:
        yield "together", together(findings)
    yield from _members(findings, media or Media())
    if predictions is None or slices is None:
        return
    if can_colour_by(predictions, "loss"):
        yield "map-loss", space(predictions, slices)
    if can_colour_by(predictions, "prediction"):
        yield "map-prediction", space(predictions, slices, "prediction")
    telling = distinguishing_attributes(findings, predictions, _VALUES)[:_ATTRIBUTES]
    for i, name in enumerate(telling, start=1):
        yield f"values-{i}-{_as_file(name)}", values(predictions, slices, name)
    if texts is not None and len(slices):
        yield "lengths", lengths(findings, predictions, slices, texts)


def _members(findings: Findings, media: Media) -> Iterator[tuple[str, Figure]]:
    """Of the first findings and slices, where there is something to look at."""
    for kind, groups in (("finding", findings.findings), ("slice", findings.slices)):
        shown = (
            group for group in groups if any(media.preview(row) is not None for row in group.portrait.top)
        )
        first = list(islice(shown, _GROUPS))  # no further: to ask for a preview is to load it
        if len(first) == _GROUPS < len(groups):
            log.info(
                "figures show the members of the first %d of %d %ss; weakspot.figures.members draws any",
                _GROUPS,
                len(groups),
                kind,
            )
        for group in first:
            yield f"members-{kind}-{group.number}", members(findings, media, group)


def _as_file(attribute: str) -> str:
    """The attribute's name as a part of a file's, which any disk takes."""
    return re.sub(r"[^\w-]+", "-", attribute, flags=re.ASCII).strip("-")[:60] or "attribute"
