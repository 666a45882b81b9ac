"""Two runs to compare: what each of them holds, and whether they can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from weakspot.evaluation.held_out_split import MIN_EXAMPLES
from weakspot.findings.finding import Finding
from weakspot.methods import apply, method_of
from weakspot.predictions import Predictions
from weakspot.slices import Slices
from weakspot.tasks import Regression

LAST_LAYER = "model's last layer"
"""Where embeddings come from, unless their record says otherwise."""


@dataclass(frozen=True, eq=False)
class RunToCompare:
    """Holds what a comparison needs from a run.

    Attributes:
        run: Its folder, in words.
        slices: The slices that it found, with a weight for each of the predictions.
        predictions: The examples that it found them in.
        findings: What it reported about the slices, which are named after it.
        command: The command line that was typed for it.
        slice_names: Its names of the slices; by default the method's word for a slice, with the number.
    """

    run: str
    slices: Slices
    predictions: Predictions
    findings: Sequence[Finding] = ()
    command: str = ""
    slice_names: Sequence[str] = ()


def check_comparable(before: RunToCompare, after: RunToCompare) -> tuple[bool, list[str]]:
    """Check that two runs can be compared.

    Args:
        before: The earlier run.
        after: The later run.

    Returns:
        Whether both runs hold the same examples, and words of caution.

    Raises:
        ValueError: If they cannot be compared, with the reason and what to do.
    """
    for one in (before, after):
        method = method_of(one.slices)
        if not method.testable:
            raise ValueError(f"{one.run}: {method.why_untestable()}; compare runs of other methods")
        if method.seeks != "worse":
            raise ValueError(
                f"{one.run} searched for the best-served examples, but only failures can be compared"
            )
        if not method.audited(one.predictions).rows.all():
            raise ValueError(
                f"{one.run} audits one category alone, whose examples depend on the model; compare runs that judge "
                "all examples"
            )
    old, new = before.predictions, after.predictions
    if (old.task is None) != (new.task is None) or (
        old.task and new.task and (old.task.kind, old.task.classes) != (new.task.kind, new.task.classes)
    ):
        raise ValueError(
            f"{before.run} and {after.run} are of different tasks ({_task(old)}; {_task(new)}); compare runs of one "
            "task"
        )
    measures = _measured_by(before), _measured_by(after)
    if None not in measures and measures[0] != measures[1]:
        raise ValueError(
            f"{before.run} is measured by its {measures[0]}, {after.run} by its {measures[1]}; compare runs of one "
            "measure"
        )
    old_rows, new_rows = shared_rows(before, after)
    if not len(old_rows):
        return False, _check_same_model(before, after)
    if old.labels is not None and new.labels is not None:
        different = (old.labels[old_rows] != new.labels[new_rows]).reshape(len(old_rows), -1).any(axis=1)
        if different.any():
            raise ValueError(
                f"{int(different.sum())} of the {len(old_rows)} examples that {before.run} and {after.run} share by id "
                "have other labels, so the ids do not identify the same examples; give every example its own id"
            )
    for one, rows in ((before, old_rows), (after, new_rows)):
        left = int((~one.slices.searched_mask[rows]).sum())
        if left < MIN_EXAMPLES and len(one.slices):
            raise ValueError(
                f"{one.run} searched all but {left} of the {len(old_rows)} examples that the two runs share, and "
                f"slices are compared on at least {MIN_EXAMPLES} that were not searched: run it with "
                "confirm=0.5"
            )
    return True, []


def have_same_answers(before: RunToCompare, after: RunToCompare) -> bool:
    """Return whether both runs hold one model's answers: equal losses on shared examples, with over two values."""
    weights = _weights(before), _weights(after)
    if None not in weights and weights[0] != weights[1]:
        return False
    old, new = before.predictions.losses, after.predictions.losses
    if old is None or new is None:
        return False
    old_rows, new_rows = shared_rows(before, after)
    old, new = old[old_rows], new[new_rows]
    return bool(np.allclose(old, new, rtol=1e-4, atol=1e-6)) and len(np.unique(old)) > 2


def _weights(run: RunToCompare) -> str | None:
    """Return the digest of the model's weights; None if it is not recorded."""
    digest: str | None = (run.predictions.manifest.get("made_from") or {}).get("weights")
    return digest


def _check_same_model(before: RunToCompare, after: RunToCompare) -> list[str]:
    """Check that two runs without an example in common are of one model; return a note if that is unknown."""
    weights = [_weights(one) for one in (before, after)]
    if None not in weights and weights[0] != weights[1]:
        raise ValueError(
            f"{before.run} and {after.run} have no example in common and are of different weights, so a slice of one "
            "says nothing about the other: run both models on the same split"
        )
    places = [one.predictions.manifest.get("embedding") or LAST_LAYER for one in (before, after)]
    if places[0] != places[1]:
        raise ValueError(
            f"{before.run} and {after.run} have no example in common and have different embeddings (of the "
            f"{places[0]}; of the {places[1]}), so a slice of one says nothing about the other: run both on one split"
        )
    for one, other in ((before, after), (after, before)):
        left = int((~one.slices.searched_mask).sum())
        if left < MIN_EXAMPLES and len(one.slices):
            raise ValueError(
                f"{one.run} searched all but {left} of its examples, and slices are compared on at least "
                f"{MIN_EXAMPLES} that were not searched: run it with confirm=0.5"
            )
        if len(one.slices):
            apply(one.slices, other.predictions.take([0]))
    if None in weights:
        return ["The two runs have no example in common; they are assumed to be of one model."]
    return []


def _measured_by(run: RunToCompare) -> str | None:
    """Return what a run is measured by, in words, as `MeasuredParts` measures it.

    Before a model is run, this follows from its task, and is None if the task or the labels are unknown.
    """
    record = method_of(run.slices).audited(run.predictions).record
    task = record.task
    if task is not None and not task.by_accuracy and record.labels is not None:
        if isinstance(task, Regression) and task.loss == "pinball" and task.quantile != 0.5:
            return f"{task.measure.upper()} at the quantile {task.quantile:g}"
        return task.measure.upper()
    if all(array is None for array in (record.losses, record.outputs, record.predictions, record.correct)):
        return None if task is None or record.labels is None else "accuracy"
    return "loss" if record.correct is None else "accuracy"


def _task(p: Predictions) -> str:
    return "none" if p.task is None else " ".join([p.task.kind, ", ".join(p.task.classes[:6])]).strip()


def shared_rows(
    one: RunToCompare, other: RunToCompare
) -> tuple[Int[np.ndarray, " s"], Int[np.ndarray, " s"]]:
    """Return the rows of the examples that both runs hold by id, (s,) of each run."""
    _, own_rows, other_rows = np.intersect1d(one.predictions.ids, other.predictions.ids, return_indices=True)
    return own_rows, other_rows
