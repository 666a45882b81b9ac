"""Which examples a method may search, and which are kept to test what it finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from weakspot.evaluation.splitting import held_out
from weakspot.methods import Method
from weakspot.predictions import Predictions

FEWEST = 20
"""Audited examples that each part must have for a split to be worth it."""


@dataclass(frozen=True, eq=False)
class Plan:
    """How the slices of one run are searched and tested.

    Attributes:
        held: (n,) the examples that no slice is sought in; none where all are searched.
        confirm: What `findings.build` tests on: the held-out rows, other predictions, or nothing.
        source: What is tested on, in words.
    """

    held: Bool[np.ndarray, " n"]
    confirm: Bool[np.ndarray, " n"] | Predictions | None
    source: str


def plan(
    method: Method,
    predictions: Predictions,
    confirm: float | Predictions,
    source: str = "",
    group: str | None = None,
) -> Plan:
    """Decide what is searched and what is tested on.

    Args:
        method: It says which examples it audits.
        predictions: The audited set.
        confirm: A share of the examples to hold out; other predictions, on which slices found in the whole set are
            tested; 0 to test nothing.
        source: What the other predictions are, in words.
        group: An attribute whose values keep their examples on one side (patients, cameras, users).

    Returns:
        The plan. Where either part would have too few examples all are searched and none tested.

    Raises:
        ValueError: If the share is not in [0, 1), or there is no such attribute.
    """
    nobody = np.zeros(len(predictions), dtype=bool)
    if isinstance(confirm, Predictions):
        return Plan(nobody, confirm, source)
    if not 0 <= confirm < 1:
        raise ValueError(
            f"confirm={confirm} must be a share of the examples below 1 (confirm=0.5), another split of the dataset "
            "(confirm=val), or 0 to test nothing"
        )
    if confirm == 0:
        return Plan(nobody, None, "")
    held = held_out(predictions.ids, confirm, _groups(predictions, group))
    audited = method.audited(predictions).rows
    if min((audited & held).sum(), (audited & ~held).sum()) < FEWEST:
        return Plan(nobody, nobody, "")
    kept = "" if group is None else f", each {group} on one side"
    return Plan(
        held, held, f"{confirm:.0%} of the set, chosen by a hash of the ids{kept}".replace("%", "\u202f%")
    )


def _groups(predictions: Predictions, group: str | None) -> Sequence[object] | None:
    if group is None:
        return None
    if group not in predictions.attributes.column_names:
        known = ", ".join(predictions.attributes.column_names) or "none"
        raise ValueError(f"there is no attribute {group!r} to keep groups together by; there are: {known}")
    values: list[object] = predictions.attributes.column(group).to_pylist()
    return values
