"""A slice that a person has selected: tested on the examples that were held out, and kept as a run like any other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from weakspot.app.lasso import Lasso
from weakspot.app.records import Record
from weakspot.app.runs import Runs
from weakspot.findings import Media
from weakspot.findings.audited_set import RESTATES
from weakspot.findings.build import LEVEL
from weakspot.methods.discriminant import ANY_LABEL, discriminant_membership, fit_discriminant
from weakspot.methods.principal_components import fit_principal_components
from weakspot.pipeline.discover import report
from weakspot.slices import Slices
from weakspot.slices.statistics import describe

METHOD = "selection"
"""What the list of runs calls it."""

FEWEST = 3
"""Examples that must be ticked."""

_COMPONENTS = 32  # as the scan has
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
    return Turn(1 + sum(run.method == METHOD and run.settings.get("of") == record.key for run in runs.all()))


def alike(record: Record, ticked: Sequence[int]) -> Float[np.ndarray, " n"]:
    """How much every example belongs to where some lie in the embedding.

    By a linear discriminant of them against the others that were searched, as the scan has; confined to their label,
    where they have one. The others are no counterexamples but not ticked (Elkan and Noto 2008, lemma 1). What the
    model says of an example, and whether that is right, is not asked.

    Args:
        record: The run.
        ticked: Rows that were searched, at least three.

    Raises:
        ValueError: Where they are fewer, or held out.
    """
    p, rows = record.predictions, np.unique(np.asarray(ticked, dtype=np.int64))
    if len(rows) < FEWEST or rows[-1] >= len(p):
        raise ValueError(f"Tick at least {FEWEST} examples of this run, so that what they share can be told.")
    if not record.searched[rows].all():
        raise ValueError("Only examples that were searched can be ticked: the others are kept for the test.")
    if p.embeddings.shape[1] == 0:
        raise ValueError("These predictions hold no embeddings, by which others could be like them.")
    codes = None if p.labels is None or p.labels.ndim != 1 or not p.classes() else np.asarray(p.labels)
    label = ANY_LABEL if codes is None or len(set(codes[rows].tolist())) > 1 else int(codes[rows[0]])
    among = record.searched if codes is None or label == ANY_LABEL else record.searched & (codes == label)
    here = np.flatnonzero(among)
    if len(here) == len(rows):
        raise ValueError("These are all of the examples searched that have their label: leave some out.")
    counts = np.ones(len(p)) if p.counts is None else np.asarray(p.counts, dtype=np.float64)
    space = fit_principal_components(p.embeddings[here], counts[here], _COMPONENTS, seed=0)
    x = space.transform_rows(p.embeddings, here)
    direction, offset = space.score_of_embeddings(*fit_discriminant(x, np.isin(here, rows), counts[here]))
    ticked_share = discriminant_membership(p, direction[None], np.array([offset]), np.array([label]))[:, 0]
    # nobody ticks all that belong: what is said of the ticked themselves is what belonging comes to
    belonging: np.ndarray = np.minimum(ticked_share / ticked_share[rows].mean(), 1)
    return belonging


def select(
    record: Record,
    weights: Float[np.ndarray, " n"],
    words: str,
    folder: Path,
    turn: Turn,
    media: Media,
    texts: Sequence[str] | None,
    lasso: Lasso | None = None,
) -> None:
    """Test a selection on the examples that were held out, and leave report, findings and slices in a folder.

    Args:
        record: The run that it was selected in.
        weights: How much it holds of each example, in [0, 1].
        words: How it was selected.
        folder: Of the new run.
        turn: Which selection it is.
        media: Previews of the run's examples.
        texts: What is written in each, where they are texts.
        lasso: The part of the map that it was confined to.

    Raises:
        ValueError: Where it holds none of the examples, or all.
    """
    if not 0 < weights.sum() < len(weights):
        raise ValueError(f"{words}: that are {'none' if not weights.any() else 'all'} of the examples.")
    p = record.predictions
    slices = Slices(
        method=METHOD,
        ids=p.ids,
        weights=weights[None],
        statistics=describe(weights[None], p),
        searched=record.searched,
        provenance={
            "settings": {"selected": words, "of": record.key} | ({"lasso": str(lasso)} if lasso else {}),
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
        hide=_hidden(record),
        media=media,
        texts=texts,
        notes=notes if record.splits else (),
        command=f"selected in browse.py: {words}",
        level=turn.level,
    )


def _hidden(record: Record) -> tuple[str, ...]:
    """Attributes that restate the target, as the data say and as the run was told (`dataset.hide`)."""
    told = () if record.findings is None else record.findings.whole.left_out
    restating = record.predictions.manifest.get("restating") or ()
    return (*restating, *(name for name, reason in told if reason == RESTATES))
