"""Accuracy, loss and error of a region, inside and outside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from weakspot.evaluation.contrasts import Contrast, accuracy_contrast, loss_contrast
from weakspot.findings.examined import Judged
from weakspot.findings.regions import Region
from weakspot.findings.testing import without_interval
from weakspot.findings.units import Examined
from weakspot.tasks import Task


@dataclass(frozen=True)
class Contrasts:
    """Of one region; None where the record lacks what they are made of.

    Attributes:
        accuracy: Of tasks whose quality is stated as the share that is right.
        loss: Mean loss.
        error: The task's own measure (RMSE, MAE), of ratings and numbers.
    """

    accuracy: Contrast | None
    loss: Contrast | None
    error: Contrast | None


def contrasts_of(region: Region, there: Examined, tested: Judged, honest: bool) -> Contrasts:
    """How the model does inside a region and outside.

    Args:
        region: The region.
        there: The examples that it was tested on; where it was not tested, those that it was found in.
        tested: The same, judged.
        honest: Whether it was tested. Otherwise there is no interval: it would be narrower than the truth.

    Returns:
        The contrasts.
    """
    inside, outside = there.counts * region.tested, there.counts * (1 - region.tested)
    if inside.sum() <= 0:
        return Contrasts(None, None, None)

    def shown(contrast: Contrast | None) -> Contrast | None:
        return contrast if honest else without_interval(contrast)

    accuracy = loss = None
    if there.correct is not None:
        accuracy = shown(accuracy_contrast(there.correct, inside, outside, there.strata))
    if tested.p.losses is not None:
        loss = shown(loss_contrast(there.losses, inside, outside, there.strata))
    error = shown(error_contrast(region.tested, there, tested))
    return Contrasts(accuracy, loss, error)


def error_contrast(weights: Float[np.ndarray, " m"], there: Examined, judged: Judged) -> Contrast | None:
    """The task's own measure (RMSE, MAE) inside and outside; None for tasks that are stated by accuracy.

    Args:
        weights: (m,) memberships.
        there: Examples.
        judged: The same, judged.
    """
    inside, outside = there.counts * weights, there.counts * (1 - weights)
    if judged.unit_errors is None or judged.p.task is None or inside.sum() <= 0:
        return None
    of_one = loss_contrast(judged.unit_errors, inside, outside, there.strata)  # squared or absolute errors
    return in_measure(of_one, judged.p.task)


def in_measure(of_one: Contrast, task: Task) -> Contrast:
    """Means of squared or absolute errors as the task states them: RMSE or MAE."""
    measured = task.aggregate
    return Contrast(
        inside=float(measured(of_one.inside)),
        outside=None if of_one.outside is None else float(measured(of_one.outside)),
        interval=None
        if of_one.interval is None
        else (float(measured(of_one.interval[0])), float(measured(of_one.interval[1]))),
        expected=None if of_one.expected is None else float(measured(of_one.expected)),
    )
