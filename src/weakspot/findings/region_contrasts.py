"""Compares accuracy, confidence, loss, error and bias inside a region with those outside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from weakspot.evaluation.contrasts import Contrast, accuracy_contrast, loss_contrast
from weakspot.findings.audited_examples import AuditedExamples
from weakspot.findings.evidence import without_interval
from weakspot.findings.example_outcomes import ExampleOutcomes
from weakspot.findings.regions import Region
from weakspot.tasks import Task


@dataclass(frozen=True)
class RegionContrasts:
    """Holds how the model does inside one region and outside; None if the record lacks what a number requires.

    Attributes:
        accuracy: For tasks that are measured by accuracy.
        loss: The mean loss.
        error: The task's own measure (RMSE, MAE), for ratings and numbers.
        confidence: The mean probability that the model gives its most likely answer, for tasks with an `accuracy`.
        bias: By how much predictions are too high on average, for ratings and numbers.
    """

    accuracy: Contrast | None
    loss: Contrast | None
    error: Contrast | None
    confidence: Contrast | None
    bias: Contrast | None


def contrasts_of_region(
    region: Region, outcomes: ExampleOutcomes, audited: AuditedExamples, has_test: bool
) -> RegionContrasts:
    """Measure how the model does inside a region and outside.

    Args:
        region: The region.
        outcomes: The m examples that it was tested on; if it was not tested, those that it was found in.
        audited: The same examples with their record.
        has_test: Whether the region was tested. Otherwise there is no interval: it would be too narrow.

    Returns:
        The contrasts.
    """
    weights = region.tested_weights
    inside, outside = outcomes.counts * weights, outcomes.counts * (1 - weights)
    if inside.sum() <= 0:
        return RegionContrasts(None, None, None, None, None)

    def with_valid_interval(contrast: Contrast | None) -> Contrast | None:
        return contrast if has_test else without_interval(contrast)

    accuracy = loss = confidence = None
    if outcomes.correct is not None:
        accuracy = with_valid_interval(accuracy_contrast(outcomes.correct, inside, outside, outcomes.strata))
        if audited.confidences is not None:
            confidence = with_valid_interval(
                loss_contrast(audited.confidences, inside, outside, outcomes.strata)
            )
    if audited.record.losses is not None:
        loss = with_valid_interval(loss_contrast(outcomes.losses, inside, outside, outcomes.strata))
    error = with_valid_interval(error_contrast(weights, outcomes, audited))
    bias = None
    if audited.signed_errors is not None:
        bias = with_valid_interval(loss_contrast(audited.signed_errors, inside, outside, outcomes.strata))
    return RegionContrasts(accuracy, loss, error, confidence, bias)


def error_contrast(
    weights: Float[np.ndarray, " m"], outcomes: ExampleOutcomes, audited: AuditedExamples
) -> Contrast | None:
    """Measure the task's own error (RMSE, MAE) inside a group and outside.

    Args:
        weights: (m,) memberships in the group.
        outcomes: The examples.
        audited: The same examples with their record.

    Returns:
        The contrast, or None for tasks that are measured by accuracy.
    """
    inside, outside = outcomes.counts * weights, outcomes.counts * (1 - weights)
    if audited.unit_errors is None or audited.record.task is None or inside.sum() <= 0:
        return None
    means = loss_contrast(audited.unit_errors, inside, outside, outcomes.strata)
    return in_task_measure(means, audited.record.task)


def in_task_measure(means: Contrast, task: Task) -> Contrast:
    """Return means of squared or absolute errors in the task's own measure: RMSE or MAE."""
    aggregate = task.aggregate
    interval = means.interval
    return Contrast(
        inside=float(aggregate(means.inside)),
        outside=None if means.outside is None else float(aggregate(means.outside)),
        interval=None if interval is None else (float(aggregate(interval[0])), float(aggregate(interval[1]))),
        expected=None if means.expected is None else float(aggregate(means.expected)),
    )
