"""How bad every example is, in the measure of its task, over the examples that are audited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata

from weakspot.findings.units import Examined
from weakspot.methods.base import AuditedRows
from weakspot.predictions import Predictions
from weakspot.slices import Weights
from weakspot.tasks import Classification, Multilabel, Regression

_PATTERNS = 0.1  # of the examples: combinations of labels beyond it are no groups; their number of labels is
_BINS = 10  # of a regression's labels, within which slices are tested


@dataclass(frozen=True, eq=False)
class Judged:
    """The audited examples, and how the model did on each.

    Attributes:
        p: Their record, with the correctness and losses of the audit.
        rows: Their positions in the whole record.
        errors: (r,) what an example adds to all errors: 1 where the model is wrong; its squared or absolute error
            for ratings and numbers; its loss where nothing else is known. Of right answers where the best is sought.
        badness: (r,) the same in [0, 1]; ranks where there is no right and wrong.
        unit_errors: (r,) squared or absolute errors of ratings and numbers; None for other tasks.
        strata: (r,) codes of the labels, or None.
        counted: What `errors` add up to, in words: "errors", "squared errors", "loss".
    """

    p: Predictions
    rows: Int[np.ndarray, " r"]
    errors: Float[np.ndarray, " r"]
    badness: Float[np.ndarray, " r"]
    unit_errors: Float[np.ndarray, " r"] | None
    strata: Int[np.ndarray, " r"] | None
    counted: str

    @property
    def counts(self) -> Float[np.ndarray, " r"]:
        return np.ones(len(self.p)) if self.p.counts is None else self.p.counts.astype(np.float64)

    @property
    def by_label(self) -> bool:
        """Whether labels are classes that a slice can be cut by."""
        return self.strata is not None and type(self.p.task) is Classification

    def take(self, some: Bool[np.ndarray, " r"]) -> Judged:
        """Some of the examples."""

        def pick(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[some]

        return Judged(
            self.p.take(some),
            self.rows[some],
            self.errors[some],
            self.badness[some],
            pick(self.unit_errors),
            pick(self.strata),
            self.counted,
        )

    def positions(self, rows: Sequence[int]) -> Int[np.ndarray, " m"]:
        """Where rows of the whole record stand among the audited ones."""
        found: np.ndarray = np.searchsorted(self.rows, np.asarray(rows, dtype=np.int64))
        return found

    def examined(self, memberships: Weights) -> Examined:
        """The same as the evidence needs it."""
        p = self.p
        return Examined(
            embeddings=p.embeddings,
            memberships=memberships,
            losses=self.errors if p.losses is None else p.losses.astype(np.float64),
            badness=self.badness,
            errors=self.errors,
            correct=None
            if self.unit_errors is not None or p.correct is None
            else np.asarray(p.correct, dtype=bool),
            strata=self.strata,
            counts=self.counts,
        )


def judge(audited: AuditedRows, better: bool, category: bool) -> Judged:
    """Say of every audited example how bad it is.

    Args:
        audited: Which examples a method judges, and by what.
        better: Whether the best-served examples are sought: what counts as an error is then a right answer.
        category: Whether one category is audited. Its labels are then no strata: among examples predicted to have
            it, the label says who is right.

    Returns:
        The audited examples, judged.

    Raises:
        ValueError: If nothing tells a good example from a bad one.
    """
    rows = np.flatnonzero(audited.rows)
    p = audited.record if len(rows) == len(audited.rows) else audited.record.take(rows)
    unit_errors = None
    if p.task is not None and not p.task.by_accuracy and p.labels is not None:
        unit_errors = p.task.unit_errors(p.outputs, p.predictions, p.labels)
    if unit_errors is not None:
        errors, badness = unit_errors, _ranks(unit_errors)
        squared = p.task is not None and p.task.measure == "rmse"
        counted = "closeness" if better else "squared errors" if squared else "absolute errors"
    elif p.correct is not None:
        errors = badness = 1.0 - p.correct.astype(np.float64)
        counted = "right answers" if better else "errors"
    elif p.losses is not None:
        losses = p.losses.astype(np.float64)
        errors, badness = losses - min(0.0, float(losses.min())), _ranks(losses)
        counted = "lack of loss" if better else "loss"
    else:
        raise ValueError("findings need losses, or which examples are right; these predictions hold neither")
    if better:
        errors, badness = float(errors.max()) - errors, 1.0 - badness
    return Judged(p, rows, errors, badness, unit_errors, None if category else _strata(p), counted)


def _ranks(values: Float[np.ndarray, " r"]) -> Float[np.ndarray, " r"]:
    """Average ranks in [0, 1]."""
    ranks: np.ndarray = (rankdata(values) - 1) / max(1, len(values) - 1)
    return ranks


def _strata(p: Predictions) -> Int[np.ndarray, " r"] | None:
    """The label of every example as a code: of several labels their combination, of numbers the decile."""
    if p.labels is None:
        return None
    match p.task:
        case Classification():
            return np.asarray(p.labels, dtype=np.int64)
        case Multilabel():
            patterns, codes = np.unique(p.labels, axis=0, return_inverse=True)
            few = len(patterns) <= max(2, _PATTERNS * len(p))
            return np.asarray(codes.ravel() if few else p.labels.sum(axis=1), dtype=np.int64)
        case Regression():
            edges = np.unique(np.quantile(p.labels, np.arange(1, _BINS) / _BINS))
            return np.searchsorted(edges, p.labels)
    return None
