"""Which classes a multilabel model misses, or sees where they are not, more often inside a finding than outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from weakspot.evaluation.contrasts import CONFIDENCE, wilson_interval
from weakspot.findings.audited_examples import AuditedExamples
from weakspot.tasks import Multilabel

Kind = Literal["missed", "false_alarm"]

_MOST = 8  # lines for one finding
_BLOCK = 64  # classes at a time


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
        (Newcombe 1998, Statistics in Medicine 17, method 10), corrected for two comparisons for each class. Empty
        for other tasks, for audits of one category, or without labels and predictions.
    """
    record = audited.record
    if not isinstance(record.task, Multilabel) or record.labels is None or record.predictions is None:
        return ()
    if audited.strata is None:  # one category is audited
        return ()
    inside, outside = audited.counts * weights, audited.counts * (1 - weights)
    if inside.sum() <= 0 or outside.sum() <= 0:
        return ()
    masses = np.stack([inside, outside, inside**2, outside**2])  # (4, m)
    confidence = 1 - (1 - CONFIDENCE) / (2 * len(classes))
    found: list[ClassErrors] = []
    for start in range(0, len(classes), _BLOCK):
        block = slice(start, start + _BLOCK)
        has, said = record.labels[:, block] > 0, record.predictions[:, block] > 0  # (m, b)
        kinds: tuple[tuple[Kind, np.ndarray, np.ndarray], ...] = (
            ("missed", has, has & ~said),
            ("false_alarm", ~has, ~has & said),
        )
        for kind, among, wrong in kinds:
            for name, sums, errors in zip(
                classes[block], (masses @ among).T, (masses[:2] @ wrong).T, strict=True
            ):
                error = _more_common(sums, errors, confidence)
                if error is not None:
                    found.append(ClassErrors(name, kind, *error))
    return tuple(sorted(found, key=lambda one: one.outside - one.inside)[:_MOST])


def _more_common(
    sums: Float[np.ndarray, " 4"], errors: Float[np.ndarray, " 2"], confidence: float
) -> tuple[float, float, tuple[float, float], float] | None:
    """Compare the shares of errors inside and outside.

    Args:
        sums: The sums of the weights inside and outside, and of their squares.
        errors: The sums of the weights of wrong examples.
        confidence: The level of the intervals.

    Returns:
        The share inside, the share outside, the interval of the former, and the number of examples inside. None unless
        the share inside is larger beyond chance.
    """
    if not sums[:2].all() or errors[0] * sums[1] <= errors[1] * sums[0]:
        return None
    within, without = (errors / sums[:2]).tolist()
    n_within, n_without = (sums[:2] ** 2 / sums[2:]).tolist()  # effective sizes (Kish 1965)
    interval = wilson_interval(within, n_within, confidence)
    highest_outside = wilson_interval(without, n_without, confidence)[1]
    least_gap = within - without - np.hypot(within - interval[0], highest_outside - without)
    return (within, without, interval, float(sums[0])) if least_gap > 0 else None
