"""How the model of one run does on parts of slices, whichever run found them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from weakspot.evaluation.confirmation import Evidence
from weakspot.evaluation.contrasts import Contrast, accuracy_contrast, loss_contrast
from weakspot.evaluation.differences import difference, match_label_mix
from weakspot.findings.audited_examples import AuditedExamples, audit_examples, group_values
from weakspot.findings.comparison import SlicePerformance
from weakspot.findings.evidence import confirm_groups
from weakspot.findings.example_outcomes import ExampleOutcomes
from weakspot.findings.region_contrasts import in_task_measure
from weakspot.findings.runs_to_compare import RunToCompare
from weakspot.methods import method_of
from weakspot.slices import Memberships, Weights


@dataclass(frozen=True)
class ComparedPart:
    """A slice, or the part of it that has one label, split as for findings: the unit of comparison.

    Attributes:
        slice: The position of the slice.
        labels: Codes of the labels that the part has; none if it is all of the slice.
    """

    slice: int
    labels: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class MeasuredParts:
    """Measures parts of slices on examples of one run that were not searched for these slices."""

    audited: AuditedExamples
    outcomes: ExampleOutcomes

    @classmethod
    def of(
        cls,
        run: RunToCompare,
        rows: Int[np.ndarray, " m"],
        parts: Sequence[ComparedPart] = (),
        weights: Weights | None = None,
    ) -> MeasuredParts:
        """Take rows (m,) of a run, with memberships in parts of slices, given the slices' weights (k, m) there."""
        audited = audit_examples(method_of(run.slices).audited(run.predictions.take(rows)), False, False)
        groups = group_values(audited.record, run.slices)
        outcomes = replace(audited.outcomes(np.empty((0, len(rows)))), groups=groups)
        if weights is None or not parts:
            return cls(audited, outcomes)
        of_slices = audited.outcomes(weights)
        part_weights = (of_slices.part_weights(part.slice, part.labels) for part in parts)
        memberships = Memberships.of_rows(part_weights, len(rows))
        return cls(audited, replace(outcomes, memberships=memberships))

    @property
    def values(self) -> Float[np.ndarray, " m"]:
        """(m,) the contribution of every example to the measure."""
        if self.audited.unit_errors is not None:
            return self.audited.unit_errors
        return (
            self.outcomes.losses
            if self.outcomes.correct is None
            else self.outcomes.correct.astype(np.float64)
        )

    @property
    def measure(self) -> str:
        """The measure's name: accuracy, loss, rmse or mae."""
        if self.audited.unit_errors is not None and self.audited.record.task is not None:
            return self.audited.record.task.measure
        return "loss" if self.outcomes.correct is None else "accuracy"

    def contrast(
        self,
        inside: Float[np.ndarray, " m"],
        outside: Float[np.ndarray, " m"],
        codes: Int[np.ndarray, " m"] | None = None,
    ) -> Contrast:
        """Contrast means of the measure, in its own units, by weights inside (m,) and outside (m,)."""
        if self.measure == "accuracy" and self.outcomes.correct is not None:
            return accuracy_contrast(self.outcomes.correct, inside, outside, codes)
        means = loss_contrast(self.values, inside, outside, codes)
        task = self.audited.record.task
        return means if self.audited.unit_errors is None or task is None else in_task_measure(means, task)

    def evidence(self, level: float, seed: int) -> list[Evidence]:
        """Test every part."""
        if not len(self.outcomes.memberships):
            return []
        return confirm_groups(self.outcomes.memberships, self.outcomes, False, level, seed)

    def performance(self, j: int, evidence: Evidence) -> SlicePerformance | None:
        """Measure how the model does on part j; None if none of the examples lies in it."""
        weights, counts, codes = self.outcomes.memberships[j], self.outcomes.counts, self.outcomes.strata
        inside, outside = counts * weights, counts * (1 - weights)
        if inside.sum() <= 0:
            return None
        contrast = self.contrast(inside, outside, codes)
        same_labels, gap = match_label_mix(inside, outside, codes), None
        if same_labels.sum() > 0:
            others = self.contrast(same_labels, np.zeros_like(same_labels))
            pair = (contrast, others) if self.measure == "accuracy" else (others, contrast)
            gap = difference(*pair)
        return SlicePerformance(evidence.verdict, evidence.p_corrected, float(inside.sum()), contrast, gap)
