"""Makes findings from a published cluster tree alone: without data and model, nothing can be tested."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from weakspot.findings.record import Findings
from weakspot.predictions import Predictions
from weakspot.slices import Slices

_NO_TEST = (
    "A tree alone cannot be tested, because it has neither embeddings nor a model that could say which other examples "
    "belong to its clusters"
)


def from_tree(
    record: Predictions, slices: Slices, *, command: str = "", created: datetime | None = None
) -> Findings:
    """Make the findings of a tree's failing clusters, none of them confirmed.

    Args:
        record: What the tree says about every image (`weakspot.interop.udis_tree_record.record_of`).
        slices: The failing clusters of the tree (`weakspot.interop.udis_tree_record.slices_of`).
        command: The command line that was typed.
        created: When the findings were made; now by default.

    Returns:
        The findings. No example has a loss of its own, because the record has only the mean loss of its cluster.
    """
    findings = Findings.build(record, slices, source=_NO_TEST, command=command, created=created)
    return replace(findings, examples=tuple(replace(example, loss=None) for example in findings.examples))
