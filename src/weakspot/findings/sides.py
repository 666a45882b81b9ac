"""The examples that slices are described over, and those that they are tested on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool

from weakspot.findings.examined import Judged, judge
from weakspot.findings.record import Confirmation
from weakspot.findings.sentences import explanation
from weakspot.findings.units import Examined
from weakspot.methods import memberships_of, method_of
from weakspot.predictions import Predictions
from weakspot.slices import Slices, as_weights


@dataclass(frozen=True, eq=False)
class Sides:
    """The examples that slices are described over, and those that they are tested on.

    Attributes:
        described, tested: Both, judged; `tested` is `described` itself where nothing could be tested.
        here, there: The same with the memberships of the slices.
        searched: Which of the described examples the slices were sought in; all, where they were found elsewhere, for
            then any of them may say where a slice lies.
        mode: As in `Confirmation`.
    """

    described: Judged
    tested: Judged
    here: Examined
    there: Examined
    searched: Bool[np.ndarray, " r"]
    mode: Any

    @property
    def honest(self) -> bool:
        """Whether there are examples that the slices were not found in."""
        return self.mode in ("held_out", "other")


def sides_of(
    predictions: Predictions,
    slices: Slices,
    confirm: Predictions | Bool[np.ndarray, " n"] | None,
    better: bool,
    category: bool,
) -> Sides:
    method = method_of(slices)
    described = judge(method.audited(predictions), better, category)
    here = described.examined(as_weights(slices.weights)[:, described.rows])
    everywhere = np.ones(len(described.rows), dtype=bool)
    if confirm is None:
        return Sides(described, described, here, here, everywhere, "off")
    if isinstance(confirm, Predictions):
        tested = judge(method.audited(confirm), better, category)
        there = tested.examined(memberships_of(slices, confirm)[:, tested.rows])
        return Sides(described, tested, here, there, everywhere, "other")
    held = np.asarray(confirm, dtype=bool)[described.rows]
    if held.all():
        return Sides(described, described, here, here, everywhere, "other")
    if not held.any():
        return Sides(described, described, here, here, everywhere, "too_few")
    tested = described.take(held)
    there = tested.examined(as_weights(here.memberships)[:, held])
    return Sides(described, tested, here, there, ~held, "held_out")


def confirmation_of(sides: Sides, searched: int | None, source: str, level: float) -> Confirmation:
    searched = int(sides.searched.sum()) if searched is None else searched
    tested = len(sides.there.losses) if sides.honest else 0
    return Confirmation(
        mode=sides.mode,
        searched=searched,
        tested=tested,
        source=source,
        level=level,
        explanation=explanation(sides.mode, searched, tested, source, level, sides.here.strata is not None),
    )
