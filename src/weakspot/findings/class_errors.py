"""Which classes a multilabel model misses, or sees where they are not, more often inside a finding than outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from weakspot.evaluation.contrasts import CONFIDENCE, effective_size, wilson_interval
from weakspot.findings.audited_examples import AuditedExamples
from weakspot.tasks import Multilabel

Kind = Literal["missed", "false_alarm"]

_MOST = 8  # lines for one finding


@dataclass(frozen=True)
class ClassErrors:
    """Holds how often a model makes one kind of error about one class, inside a finding and outside.

    Attributes:
        name: The class.
        kind: "missed": of the examples that have the class, those not predicted to. "false_alarm": of the examples
            that do not have it, those predicted to.
        inside, outside: The shares of such errors among these examples.
        interval: The confidence interval of `inside`. The intervals of both kinds for all classes hold together with
            95 % (Bonferroni).
        examples: How many examples inside the share is of.
    """

    name: str
    kind: Kind
    inside: float
    outside: float
    interval: tuple[float, float]
    examples: float


def class_errors(
    weights: Float[np.ndarray, " m"], audited: AuditedExamples, classes: tuple[str, ...]
) -> tuple[ClassErrors, ...]:
    """Return which errors a multilabel model makes more often inside a group than outside, the largest gap first.

    A finding says on how many examples any class is wrong; this says which class, and in which way. Examples with and
    without a class are compared separately, so that a class is not listed only because it is common inside.

    Args:
        weights: (m,) memberships of the tested examples in the group.
        audited: These examples.
        classes: The names of the C classes.

    Returns:
        At most eight errors whose share inside exceeds that outside by Newcombe's interval of the difference
        (Newcombe 1998, Statistics in Medicine 17, method 10), corrected for two comparisons for each class. None for
        other tasks, for audits of one category, or without labels and predictions.
    """
    record = audited.record
    if not isinstance(record.task, Multilabel) or record.labels is None or record.predictions is None:
        return ()
    if audited.strata is None:  # one category is audited
        return ()
    inside, outside = audited.counts * weights, audited.counts * (1 - weights)
    confidence = 1 - (1 - CONFIDENCE) / (2 * len(classes))
    found = []
    for name, has, said in zip(classes, record.labels.T > 0, record.predictions.T > 0, strict=True):
        kinds: tuple[tuple[Kind, np.ndarray, np.ndarray], ...] = (
            ("missed", has, ~said),
            ("false_alarm", ~has, said),
        )
        for kind, among, wrong in kinds:
            error = _compared(inside[among], outside[among], wrong[among], confidence)
            if error is not None:
                found.append(ClassErrors(name, kind, *error))
    return tuple(sorted(found, key=lambda one: one.outside - one.inside)[:_MOST])


def _compared(
    inside: Float[np.ndarray, " m"],
    outside: Float[np.ndarray, " m"],
    wrong: Bool[np.ndarray, " m"],
    confidence: float,
) -> tuple[float, float, tuple[float, float], float] | None:
    """Return the shares of wrong examples inside and outside, the interval of the former, and its number of examples.

    Returns:
        None unless the share inside is larger beyond chance.
    """
    if not inside.sum() or not outside.sum():
        return None
    within, without = (float(mass @ wrong / mass.sum()) for mass in (inside, outside))
    interval, (_, high) = (
        wilson_interval(share, effective_size(mass), confidence)
        for share, mass in ((within, inside), (without, outside))
    )
    least_gap = within - without - np.hypot(within - interval[0], high - without)
    return (within, without, interval, float(inside.sum())) if least_gap > 0 else None
