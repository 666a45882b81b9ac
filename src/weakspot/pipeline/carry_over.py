"""Saved slices over other examples: those that they were not sought in, so that all of these may be tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int, Shaped

from weakspot.findings.compare_slices import FEWEST
from weakspot.methods import apply, audit_of, memberships_of
from weakspot.pipeline.runs import Run
from weakspot.predictions import Predictions
from weakspot.slices import Slices
from weakspot.tasks import Task


@dataclass(frozen=True, eq=False)
class CarriedOver:
    """Slices of an earlier run, as they lie in examples that it did not search.

    Attributes:
        slices: With a weight for each of the predictions.
        predictions: The examples that the run did not search.
        rows: Where they stand among all examples that were given.
        searched: How many examples the run searched.
        left_out: How many of those given it searched.
        notes: Words of caution.
    """

    slices: Slices
    predictions: Predictions
    rows: Int[np.ndarray, " m"]
    searched: int
    left_out: int
    notes: tuple[str, ...]


def carry_over(run: Run, p: Predictions) -> CarriedOver:
    """Apply a run's slices to the examples of `p` that it did not search.

    Args:
        run: The run.
        p: Predictions of the same model.

    Raises:
        ValueError: Where the slices do not fit (`check_fits`), or the run searched nearly all of the examples.
    """
    rows = not_searched(run, p.ids)
    check_fits(run, p.task, p)
    some = p if len(rows) == len(p) else p.take(rows)
    audit = audit_of(run.slices, some)
    if int(audit.rows.sum()) < FEWEST:
        raise ValueError(
            f"the slices of {run.folder} judge {int(audit.rows.sum())} of these examples, and a test needs {FEWEST}"
        )
    elsewhere = np.full(len(run.slices.ids), -1)
    carried = run.slices.carry_over(memberships_of(run.slices, some), audit.record, elsewhere, audit.rows)
    before = run.slices.provenance.get("predictions")
    found_in = {"run": str(run.folder), "predictions": before}
    return CarriedOver(
        slices=replace(carried, tree=None, provenance={**carried.provenance, "found_in": found_in}),
        predictions=some,
        rows=rows,
        searched=int(run.slices.searched_mask.sum()),
        left_out=len(p) - len(rows),
        notes=_notes(run, p),
    )


def not_searched(run: Run, ids: Sequence[str] | Shaped[np.ndarray, " n"]) -> Int[np.ndarray, " m"]:
    """Which of these examples the run did not search.

    Raises ValueError where these are too few to test anything on.
    """
    names = np.asarray(ids)
    rows = np.flatnonzero(~np.isin(names, run.slices.ids[run.slices.searched_mask]))
    if len(rows) < FEWEST:
        raise ValueError(
            f"{run.folder} searched {len(names) - len(rows)} of these {len(names)} examples, so what it found cannot "
            f"be tested on them (a test needs {FEWEST} others): give other examples (split=val, predictions=FILE). If "
            "they are others under the same ids, give each an id of its own (a column id)"
        )
    return rows


def check_fits(run: Run, task: Task | None, p: Predictions) -> None:
    """Raise ValueError where a run's slices say nothing of examples like these.

    Args:
        run: The run.
        task: What was asked of the model.
        p: Some of its predictions, to which the slices are applied.
    """
    if not len(run.slices):
        raise ValueError(f"{run.folder} found no slice, so there is nothing to carry over")
    before = (run.slices.provenance.get("predictions") or {}).get("task")
    if before and task is not None:
        then = Task.from_dict(before)
        few = min(len(then.classes), len(task.classes))
        if then.kind != task.kind or then.classes[:few] != task.classes[:few]:
            raise ValueError(
                f"the slices of {run.folder} are of another task ({_described(then)}) than these examples "
                f"({_described(task)}); give predictions of the model that it searched"
            )
    apply(run.slices, p.take([0]))


def _described(task: Task) -> str:
    return f"{task.kind}: {', '.join(task.classes[:6])}{', …' if len(task.classes) > 6 else ''}"


def _notes(run: Run, p: Predictions) -> tuple[str, ...]:
    before = run.slices.provenance.get("predictions") or {}
    then, now = ((manifest.get("made_from") or {}).get("weights") for manifest in (before, p.manifest))
    if then is None or now is None or then == now:
        return ()
    return (
        "These slices were found in the embeddings of other weights: where training has moved the embedding, they lie "
        "elsewhere. discover.py compare=[RUN,RUN] compares two models example by example.",
    )
