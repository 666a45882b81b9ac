"""Draws all figures of a run, and writes them to files."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from matplotlib.figure import Figure

from weakspot.figures.accuracies import accuracies
from weakspot.figures.co_occurrence import co_occurrence
from weakspot.figures.lengths import lengths
from weakspot.figures.members import members
from weakspot.figures.space import space
from weakspot.figures.style import save
from weakspot.figures.tree import silhouettes, tree
from weakspot.figures.values import values
from weakspot.findings import Findings, Media
from weakspot.findings.attribute_values import distinguishing_attributes
from weakspot.findings.figure_map import can_colour_by
from weakspot.predictions import Predictions
from weakspot.slices import Slices

log = logging.getLogger(__name__)

FOLDER = "figures"

_GROUPS = 10  # findings, and slices, whose members are drawn
_ATTRIBUTES = 6  # attributes whose values are drawn
_VALUES = 100  # of an attribute, at most: this leaves out user ids, of which there are hundreds


def draw(
    folder: str | Path,
    kind: str,
    findings: Findings,
    predictions: Predictions | None = None,
    slices: Slices | None = None,
    media: Media | None = None,
    texts: Sequence[str] | None = None,
) -> list[Path]:
    """Write every figure that a run has something to show in.

    Args:
        folder: The folder of the files; it is created if it is missing.
        kind: The format: pdf, png or svg.
        findings: The findings of a run.
        predictions: The predictions that the findings describe; without them there are no maps and no tables.
        slices: The slices that were found.
        media: Previews and Grad-CAMs; without them no members are shown.
        texts: The text of each example.

    Returns:
        The files.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    figures = make_figures(findings, predictions, slices, media, texts)
    return [save(figure, folder / f"{name}.{kind}") for name, figure in figures]


def make_figures(
    findings: Findings,
    predictions: Predictions | None = None,
    slices: Slices | None = None,
    media: Media | None = None,
    texts: Sequence[str] | None = None,
) -> Iterator[tuple[str, Figure]]:
    """Yield every figure that a run has something to show in, with its name; the arguments are those of `draw`."""
    if findings.findings:
        yield "findings", accuracies(findings)
    if findings.clusters:
        yield "tree", tree(findings)
    if len(findings.cut_scores) > 1:
        yield "silhouettes", silhouettes(findings)
    if findings.whole.pairs:
        yield "together", co_occurrence(findings)
    yield from _members(findings, media or Media())
    if predictions is None or slices is None:
        return
    if can_colour_by(predictions, "loss"):
        yield "map-loss", space(predictions, slices)
    if can_colour_by(predictions, "prediction"):
        yield "map-prediction", space(predictions, slices, "prediction")
    attributes = distinguishing_attributes(findings, predictions, _VALUES)[:_ATTRIBUTES]
    for i, name in enumerate(attributes, start=1):
        yield f"values-{i}-{_in_file_name(name)}", values(predictions, slices, name)
    if texts is not None and len(slices):
        yield "lengths", lengths(findings, predictions, slices, texts)


def _members(findings: Findings, media: Media) -> Iterator[tuple[str, Figure]]:
    """Yield figures of the members of the first findings and slices that have previews."""
    for kind, groups in (("finding", findings.findings), ("slice", findings.slices)):
        shown = (
            group for group in groups if any(media.preview(row) is not None for row in group.portrait.top)
        )
        first = list(islice(shown, _GROUPS))  # and no more, because each preview is loaded
        if len(first) == _GROUPS < len(groups):
            log.info(
                "figures show the members of the first %d of %d %ss; weakspot.figures.members draws any",
                _GROUPS,
                len(groups),
                kind,
            )
        for group in first:
            yield f"members-{kind}-{group.number}", members(findings, media, group)


def _in_file_name(attribute: str) -> str:
    """Return the name of an attribute as part of a file's name that any disk accepts."""
    return re.sub(r"[^\w-]+", "-", attribute, flags=re.ASCII).strip("-")[:60] or "attribute"
