"""Findings of a published cluster tree by itself: with neither data nor model there is nothing to test."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from weakspot.findings.build import build
from weakspot.findings.record import Findings
from weakspot.predictions import Predictions
from weakspot.slices import Slices

_NO_TEST = (
    "A tree alone cannot be tested, for it holds neither embeddings nor a model that could say which other examples "
    "belong to its clusters"
)


def from_tree(
    record: Predictions, slices: Slices, *, command: str = "", created: datetime | None = None
) -> Findings:
    """Everything there is to say about the failing clusters of a tree, all of it not confirmed.

    Args:
        record: What the tree tells of every image (`weakspot.interop.udis_tree_record.record_of`).
        slices: Its failing clusters (`slices_of`).
        command: The line that was typed.
        created: Now, unless given.

    Returns:
        The findings. No example has a loss of its own: the record knows the mean of its cluster.
    """
    found = build(record, slices, source=_NO_TEST, command=command, created=created)
    return replace(found, examples=tuple(replace(example, loss=None) for example in found.examples))
