"""A slice that a person has selected: tested on the examples that were held out, and kept as a run like any other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from weakspot.app.records import Record
from weakspot.app.runs import Runs
from weakspot.findings import Media
from weakspot.findings.build import LEVEL
from weakspot.pipeline.discover import report
from weakspot.slices import Slices
from weakspot.slices.statistics import describe

METHOD = "selection"
"""What the list of runs calls it."""

_UNTESTED = "Nothing was tested, for the run of this selection had searched all of the examples"


@dataclass(frozen=True)
class Turn:
    """Which selection of these examples comes next.

    Attributes:
        number: From 1.
        level: At which it is tested. The levels of all selections, however many there will be, add up to that of a
            single test: so a person may go on trying, and is no more often misled.
    """

    number: int

    @property
    def level(self) -> float:
        return LEVEL / (self.number * (self.number + 1))


def turn_of(runs: Runs, record: Record) -> Turn:
    """The turn after all selections that have been tested on the same predictions."""
    of = _key(record)
    return Turn(1 + sum(run.method == METHOD and run.settings.get("of") == of for run in runs.all()))


def select(
    record: Record,
    inside: Bool[np.ndarray, " n"],
    words: str,
    folder: Path,
    turn: Turn,
    media: Media,
    texts: Sequence[str] | None,
) -> None:
    """Test a selection on the examples that were held out, and leave report, findings and slices in a folder.

    Args:
        record: The run that it was selected in.
        inside: Which examples it holds.
        words: How it was selected.
        folder: Of the new run.
        turn: Which selection it is.
        media: Previews of the run's examples.
        texts: What is written in each, where they are texts.

    Raises:
        ValueError: Where it holds none of the examples, or all.
    """
    if not 0 < inside.sum() < len(inside):
        raise ValueError(f"{words}: that are {'none' if not inside.any() else 'all'} of the examples.")
    p, weights = record.predictions, inside[None].astype(np.float64)
    slices = Slices(
        method=METHOD,
        ids=p.ids,
        weights=weights,
        statistics=describe(weights, p),
        searched=record.searched,
        provenance={
            "settings": {"selected": words, "of": _key(record)},
            "predictions": dict(p.manifest),
        },
    )
    notes = [
        f"Selected by hand: {words}. It is selection {turn.number} of these predictions, tested at the level "
        f"{turn.level:.2g}: those of all selections add up to {LEVEL:g}."
    ]
    report(
        slices,
        p,
        folder,
        confirm=~record.searched if record.splits else None,
        source="" if record.splits else _UNTESTED,
        hide=tuple(p.manifest.get("restating") or ()),
        media=media,
        texts=texts,
        notes=notes if record.splits else (),
        command=f"selected in browse.py: {words}",
        level=turn.level,
    )


def _key(record: Record) -> str:
    """What tells these predictions from others."""
    manifest = record.predictions.manifest
    told = json.dumps(manifest.get("made_from") or manifest.get("source") or "", sort_keys=True, default=str)
    sha = hashlib.sha256(told.encode())
    for id in record.predictions.ids:
        sha.update(f"\n{id}".encode())
    return sha.hexdigest()[:16]
