"""The examples that a method audits, and how badly the model does on each, in the measure of its task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy.stats import rankdata

from weakspot.findings.example_outcomes import ExampleOutcomes
from weakspot.methods.base import AuditedRows
from weakspot.predictions import Predictions
from weakspot.predictions.confidences import confidences
from weakspot.slices import Slices, Weights
from weakspot.tasks import Classification, Multilabel, Regression

_MOST_PATTERNS = 0.1  # share of the examples; with more combinations of labels, most are too rare
_SIMILAR = 10  # neighbours in a stratum; with 20, errors that follow a skewed label are confirmed too often


@dataclass(frozen=True, eq=False)
class AuditedExamples:
    """Holds the r audited examples, and how badly the model does on each.

    Attributes:
        record: Their predictions, with the correctness and losses of the audit.
        rows: (r,) their positions in the whole record.
        errors: (r,) the contribution of each example to the total error: 1 if the model is wrong; the squared or
            absolute error for ratings and numbers; the loss if nothing else is known. If the best-served examples are
            searched for, right answers take the place of errors.
        severity: (r,) the same in [0, 1]; ranks for tasks without right and wrong.
        unit_errors: (r,) squared or absolute errors of ratings and numbers; None for other tasks.
        strata: (r,) codes of the labels, or None.
        label_scores: (r,) if most labels occur once or only a few times, numbers that order the labels; a stratum is
            then about ten neighbours in that order. None otherwise.
        counted: What `errors` add up to, in words: "errors", "squared errors", "loss".
    """

    record: Predictions
    rows: Int[np.ndarray, " r"]
    errors: Float[np.ndarray, " r"]
    severity: Float[np.ndarray, " r"]
    unit_errors: Float[np.ndarray, " r"] | None
    strata: Int[np.ndarray, " r"] | None
    label_scores: Float[np.ndarray, " r"] | None
    counted: str

    @property
    def counts(self) -> Float[np.ndarray, " r"]:
        """How many times each example counts; ones if the record has no counts."""
        counts = self.record.counts
        return np.ones(len(self.record)) if counts is None else counts.astype(np.float64)

    @property
    def by_label(self) -> bool:
        """Whether labels are classes that a slice can be split by."""
        return self.strata is not None and type(self.record.task) is Classification

    @cached_property
    def confidences(self) -> Float[np.ndarray, " r"] | None:
        """(r,) the probability that the model gives its most likely answer.

        None for several labels at once: their accuracy is the share of examples with every label right, their
        confidence a mean over labels, and the two cannot be compared.
        """
        if isinstance(self.record.task, Multilabel):
            return None
        return confidences(self.record.task, self.record.outputs)

    @cached_property
    def signed_errors(self) -> Float[np.ndarray, " r"] | None:
        """(r,) by how much each prediction is too high, for ratings and numbers; None for other tasks."""
        record = self.record
        if self.unit_errors is None or record.task is None or record.labels is None:
            return None
        return record.task.signed_errors(record.outputs, record.predictions, record.labels)

    @property
    def compared_within(self) -> str:
        """What examples are compared within, in words; empty if labels are unknown."""
        if self.strata is None:
            return ""
        return "labels" if self.label_scores is None else "similar labels"

    def take(self, chosen: Bool[np.ndarray, " r"]) -> AuditedExamples:
        """Return only the chosen examples; neighbouring labels are then determined among these."""

        def pick(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[chosen]

        scores = pick(self.label_scores)
        return AuditedExamples(
            self.record.take(chosen),
            self.rows[chosen],
            self.errors[chosen],
            self.severity[chosen],
            pick(self.unit_errors),
            pick(self.strata) if scores is None else _neighbours(scores),
            scores,
            self.counted,
        )

    def positions(self, rows: Sequence[int]) -> Int[np.ndarray, " m"]:
        """Return the positions of m rows of the whole record among the audited ones."""
        positions: np.ndarray = np.searchsorted(self.rows, np.asarray(rows, dtype=np.int64))
        return positions

    def outcomes(self, memberships: Weights) -> ExampleOutcomes:
        """Return the outcomes that slices with these memberships (k, r) are tested by."""
        record = self.record
        return ExampleOutcomes(
            embeddings=record.embeddings,
            memberships=memberships,
            losses=self.errors if record.losses is None else record.losses.astype(np.float64),
            severity=self.severity,
            errors=self.errors,
            correct=None
            if self.unit_errors is not None or record.correct is None
            else np.asarray(record.correct, dtype=bool),
            strata=self.strata,
            counts=self.counts,
        )


def audit_examples(audited: AuditedRows, better: bool, category: bool) -> AuditedExamples:
    """Measure how badly the model does on every audited example.

    Args:
        audited: Which examples a method audits, and what it judges them by.
        better: Whether the best-served examples are searched for; right answers then take the place of errors.
        category: Whether one category is audited. Its labels are then not used as strata: among examples predicted to
            have it, the label determines which are right.

    Returns:
        The audited examples.

    Raises:
        ValueError: If nothing distinguishes good examples from bad ones.
    """
    rows = np.flatnonzero(audited.rows)
    record = audited.record if len(rows) == len(audited.rows) else audited.record.take(rows)
    unit_errors = None
    if record.task is not None and not record.task.by_accuracy and record.labels is not None:
        unit_errors = record.task.unit_errors(record.outputs, record.predictions, record.labels)
    if unit_errors is not None:
        errors, severity = unit_errors, _ranks(unit_errors)
        squared = record.task is not None and record.task.squares_errors
        counted = "closeness" if better else "squared errors" if squared else "absolute errors"
    elif record.correct is not None:
        errors = severity = 1.0 - record.correct.astype(np.float64)
        counted = "right answers" if better else "errors"
    elif record.losses is not None:
        losses = record.losses.astype(np.float64)
        errors, severity = losses - min(0.0, float(losses.min())), _ranks(losses)
        counted = "lack of loss" if better else "loss"
    else:
        raise ValueError("findings need losses, or which examples are right; these predictions hold neither")
    if better:
        errors, severity = float(errors.max()) - errors, 1.0 - severity
    strata, scores = None if category else _label_codes(record), None
    if strata is None and not category:
        scores = _label_scores(record, errors if record.losses is None else record.losses)
        strata = None if scores is None else _neighbours(scores)
    return AuditedExamples(record, rows, errors, severity, unit_errors, strata, scores, counted)


def group_name(record: Predictions, slices: Slices) -> str | None:
    """Return the attribute by which the search kept examples together, or else the one that the predictions name.

    It is None if there is neither, or if these examples have no such attribute.
    """
    name = slices.provenance.get("group") or record.manifest.get("group")
    return name if name in record.attributes.column_names else None


def group_values(record: Predictions, slices: Slices) -> Shaped[np.ndarray, " r"] | None:
    """Return the group of every example of a record; None if there are no groups (`group_name`)."""
    name = group_name(record, slices)
    if name is None:
        return None
    values = np.empty(len(record), dtype=object)
    values[:] = record.attributes.column(name).to_pylist()
    return values


def _ranks(values: Float[np.ndarray, " r"]) -> Float[np.ndarray, " r"]:
    """Return average ranks in [0, 1]."""
    ranks: np.ndarray = (rankdata(values) - 1) / max(1, len(values) - 1)
    return ranks


def _label_codes(record: Predictions) -> Int[np.ndarray, " r"] | None:
    """Return the label of every example, or the combination of its labels, as a code; None if most are rare."""
    match record.task:
        case Classification() if record.labels is not None:
            return np.asarray(record.labels, dtype=np.int64)
        case Multilabel() if record.labels is not None:
            patterns, codes = np.unique(record.labels, axis=0, return_inverse=True)
            few = len(patterns) <= max(2, _MOST_PATTERNS * len(record))
            return np.asarray(codes.ravel(), dtype=np.int64) if few else None
    return None


def _label_scores(record: Predictions, losses: Float[np.ndarray, " r"]) -> Float[np.ndarray, " r"] | None:
    """Return numbers that order the labels: a number itself; for several labels, the expected rank of the loss."""
    match record.task:
        case Regression() if record.labels is not None:
            return np.asarray(record.labels, dtype=np.float64)
        case Multilabel() if record.labels is not None:
            return _expected_ranks(np.asarray(record.labels, dtype=np.float64), losses)
    return None


def _expected_ranks(
    labels: Float[np.ndarray, "r c"], losses: Float[np.ndarray, " r"]
) -> Float[np.ndarray, " r"]:
    """Return the rank of the loss expected from an example's labels: a prognostic score (Hansen 2008).

    It is fitted to all audited examples by ridge regression with a penalty of 1. It depends on the labels alone, so
    that examples with the same labels are never distinguished by their losses.
    """
    x, y = labels - labels.mean(axis=0), _ranks(losses)
    fit = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ (y - y.mean()))
    scores: np.ndarray = (x @ fit).round(9)  # equal labels have equal scores
    return scores


def _neighbours(scores: Float[np.ndarray, " r"]) -> Int[np.ndarray, " r"]:
    """Return the stratum of every example: about ten neighbours each; equal scores share a stratum."""
    strata = max(1, round(len(scores) / _SIMILAR))
    codes: np.ndarray = ((rankdata(scores) - 0.5) * strata / len(scores)).astype(np.int64)
    return codes
