"""Slices selected by hand, which are tested on the held-out examples and saved as runs like any other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from weakspot.app.lasso import Lasso
from weakspot.app.loaded_runs import LoadedRun
from weakspot.app.run_index import RunIndex
from weakspot.evaluation.confirmation import LEVEL
from weakspot.findings import Media
from weakspot.findings.audited_set import RESTATING
from weakspot.methods.discriminant import ANY_LABEL, discriminant_membership, fit_discriminant
from weakspot.methods.principal_components import fit_principal_components
from weakspot.pipeline.discover import report_slices
from weakspot.pipeline.run_outputs import RunOutputs
from weakspot.slices import Slices
from weakspot.slices.statistics import describe

METHOD = "selection"
"""The method's name for a selection in the list of runs."""

MIN_TICKED = 3
"""The fewest examples that can be ticked."""

_N_COMPONENTS = 32  # as in the method `scan`
_UNTESTED = "Nothing was tested, because the run of this selection had searched all of the examples"


@dataclass(frozen=True)
class SelectionTest:
    """The test of the next selection on the same predictions.

    Attributes:
        number: The selection's number, counted from 1.
    """

    number: int

    @property
    def level(self) -> float:
        """The significance level of the test. The levels of all selections, however many there are, add up to that
        of a single test, so that trying again and again does not cause more false positives.
        """
        return self.level_of_all / (self.number * (self.number + 1))

    @property
    def level_of_all(self) -> float:
        """The sum of the levels of all selections."""
        return LEVEL


def next_selection_test(runs: RunIndex, loaded: LoadedRun) -> SelectionTest:
    """Return the test of the next selection, after those already tested on the same predictions."""
    return SelectionTest(
        1
        + sum(
            run.method == METHOD and run.settings.get("of") == loaded.predictions_digest for run in runs.all()
        )
    )


def similarity_weights(loaded: LoadedRun, ticked: Sequence[int]) -> Float[np.ndarray, " n"]:
    """Return how much every example's embedding resembles those of the ticked examples.

    A linear discriminant separates the ticked examples from the other searched examples, as in the method
    `scan`; if the ticked examples share a label, it is restricted to that label. The others are not negative
    examples, but merely not ticked (Elkan and Noto 2008, lemma 1). The model's predictions, and whether they
    are right, are not used.

    Args:
        loaded: The run.
        ticked: At least three rows that were searched.

    Returns:
        (n,) memberships in [0, 1].

    Raises:
        ValueError: If there are fewer rows, or some of them are held out.
    """
    p, rows = loaded.predictions, np.unique(np.asarray(ticked, dtype=np.int64))
    if len(rows) < MIN_TICKED or rows[-1] >= len(p):
        raise ValueError(
            f"Tick at least {MIN_TICKED} examples of this run, so that what they have in common can be found."
        )
    if not loaded.searched[rows].all():
        raise ValueError("Only examples that were searched can be ticked: the others are kept for the test.")
    if p.embeddings.shape[1] == 0:
        raise ValueError("These predictions hold no embeddings, so other examples cannot be compared.")
    codes = None if p.labels is None or p.labels.ndim != 1 or not p.classes() else np.asarray(p.labels)
    label = ANY_LABEL if codes is None or len(set(codes[rows].tolist())) > 1 else int(codes[rows[0]])
    eligible = loaded.searched if codes is None or label == ANY_LABEL else loaded.searched & (codes == label)
    candidates = np.flatnonzero(eligible)
    if len(candidates) == len(rows):
        with_label = "" if label == ANY_LABEL else " with this label"
        raise ValueError(f"You ticked all of the searched examples{with_label}: leave some out.")
    counts = p.row_counts
    space = fit_principal_components(p.embeddings[candidates], counts[candidates], _N_COMPONENTS, seed=0)
    x = space.transform_rows(p.embeddings, candidates)
    direction, offset = space.score_of_embeddings(
        *fit_discriminant(x, np.isin(candidates, rows), counts[candidates])
    )
    ticked_membership = discriminant_membership(p, direction[None], np.array([offset]), np.array([label]))[
        :, 0
    ]
    # nobody ticks every member: the mean over the ticked examples themselves counts as full membership
    belonging: np.ndarray = np.minimum(ticked_membership / ticked_membership[rows].mean(), 1)
    return belonging


def save_selection(
    loaded: LoadedRun,
    weights: Float[np.ndarray, " n"],
    description: str,
    folder: Path,
    test: SelectionTest,
    media: Media,
    texts: Sequence[str] | None,
    lasso: Lasso | None = None,
) -> None:
    """Test a selection on the held-out examples, and save report, findings and slices in a folder.

    Args:
        loaded: The run in which it was selected.
        weights: (n,) the membership of each example, in [0, 1].
        description: How it was selected, in words.
        folder: The folder of the new run.
        test: The number and the level of the test.
        media: Previews of the run's examples.
        texts: The text of each example, if they are texts.
        lasso: The region of the map to which it was restricted.

    Raises:
        ValueError: If it contains none of the examples, or all.
    """
    if not 0 < weights.sum() < len(weights):
        raise ValueError(
            f"{description}: this selects {'none' if not weights.any() else 'all'} of the examples."
        )
    p = loaded.predictions
    slices = Slices(
        method=METHOD,
        ids=p.ids,
        weights=weights[None],
        statistics=describe(weights[None], p),
        searched=loaded.searched,
        provenance={
            "settings": {"selected": description, "of": loaded.predictions_digest}
            | ({"lasso": str(lasso)} if lasso else {}),
            "predictions": p.provenance,
        },
    )
    notes = [
        f"Selected by hand: {description}. It is selection {test.number} of these predictions, tested at the level "
        f"{test.level:.2g}: the levels of all selections add up to {test.level_of_all:g}."
    ]
    report_slices(
        slices,
        p,
        folder,
        confirm=~loaded.searched if loaded.has_held_out else None,
        source="" if loaded.has_held_out else _UNTESTED,
        restating=_restating_attributes(loaded),
        media=media,
        texts=texts,
        notes=notes if loaded.has_held_out else (),
        outputs=RunOutputs(command=f"selected in browse.py: {description}"),
        level=test.level,
    )


def _restating_attributes(loaded: LoadedRun) -> tuple[str, ...]:
    """Return the attributes that restate the target, according to the dataset and the run's `dataset.hide`."""
    left_out = () if loaded.findings is None else loaded.findings.whole.left_out
    restating = loaded.predictions.manifest.get("restating") or ()
    return (*restating, *(name for name, reason in left_out if reason == RESTATING))
