"""Accuracy, loss and error of a region, inside and outside."""

from __future__ import annotations

from dataclasses import dataclass

from weakspot.evaluation.contrasts import Contrast, accuracy_contrast, loss_contrast
from weakspot.findings.examined import Judged
from weakspot.findings.regions import Region
from weakspot.findings.units import Examined


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

    def shown(contrast: Contrast) -> Contrast:
        return contrast if honest else Contrast(contrast.inside, contrast.outside, None, contrast.expected)

    accuracy = loss = error = None
    if there.correct is not None:
        accuracy = shown(accuracy_contrast(there.correct, inside, outside, there.strata))
    if tested.p.losses is not None:
        loss = shown(loss_contrast(there.losses, inside, outside, there.strata))
    if tested.unit_errors is not None and tested.p.task is not None:
        squares, to_measure = (
            loss_contrast(tested.unit_errors, inside, outside, there.strata),
            tested.p.task.aggregate,
        )
        error = shown(
            Contrast(
                inside=float(to_measure(squares.inside)),
                outside=None if squares.outside is None else float(to_measure(squares.outside)),
                interval=None
                if squares.interval is None
                else (float(to_measure(squares.interval[0])), float(to_measure(squares.interval[1]))),
                expected=None if squares.expected is None else float(to_measure(squares.expected)),
            )
        )
    return Contrasts(accuracy, loss, error)
