"""The conditions of `fail_if`, under which a run fails, for continuous integration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from weakspot.evaluation.contrasts import Contrast
from weakspot.findings import Findings
from weakspot.findings.comparison import Comparison
from weakspot.findings.numbers import percent
from weakspot.findings.runs_to_compare import RunToCompare, check_comparable
from weakspot.methods import Method
from weakspot.predictions import Predictions
from weakspot.slices import Slices


@dataclass(frozen=True, eq=False)
class FailIf:
    """The conditions under which a run fails.

    Attributes:
        accuracy_below: The run fails if the accuracy of a confirmed finding is lower than this; a comparison, which has
            no findings, if that of a confirmed slice is.
        new_against: The run fails if a slice is new compared with this baseline.
    """

    accuracy_below: float | None = None
    new_against: RunToCompare | None = None

    @property
    def is_set(self) -> bool:
        """Whether there is any condition."""
        return self.accuracy_below is not None or self.new_against is not None

    def check(self, p: Predictions, method: Method | None = None) -> None:
        """Check that the conditions can be decided, before anything is searched.

        Args:
            p: The predictions that are to be searched, or the known parts of them: ids, labels and the task.
            method: The method that is to search them, if there is one.

        Raises:
            ValueError: If they cannot be decided.
        """
        if self.is_set and method is not None and not method.testable:
            raise ValueError(
                f"fail_if cannot be decided, because {method.why_untestable()}; choose another method"
            )
        minimum = self.accuracy_below
        if minimum is not None:
            if not 0 < minimum <= 1:
                raise ValueError(f"fail_if.accuracy_below={minimum:g} must be a share above 0 and at most 1")
            if (p.task is not None and not p.task.by_accuracy) or (p.task is None and p.correct is None):
                raise ValueError(
                    f"fail_if.accuracy_below={minimum:g} needs answers that are right or wrong, and these predictions "
                    "have none"
                )
        if self.new_against is not None:
            settings = {} if method is None else {"settings": method.get_params()}
            word = "" if method is None else method.word
            no_slices = Slices(word, p.ids, np.empty((0, len(p))), (), provenance=settings)
            check_comparable(self.new_against, RunToCompare("this run", no_slices, p))

    def failures(self, findings: Findings) -> list[str]:
        """Describe the confirmed findings whose accuracy is too low, each as the report shows it, with its interval.

        Raises:
            ValueError: If nothing was tested, so that the conditions cannot be decided.
        """
        if not self.is_set:
            return []
        if not findings.confirmation.tested:
            raise ValueError(
                "fail_if cannot be decided, because nothing was tested: too few examples could be held out; give more "
                "of them, or others to test on (confirm=val, confirm=FILE)"
                if findings.confirmation.mode == "too_few"
                else "fail_if cannot be decided, because nothing was tested; search with confirm=0.5"
            )
        if self.accuracy_below is None:
            return []
        return [
            _describe_failure(one.subject, one.accuracy, self.accuracy_below)
            for one in findings.findings
            if one.confirmed and one.accuracy is not None and one.accuracy.inside < self.accuracy_below
        ]

    def comparison_failures(self, comparison: Comparison) -> list[str]:
        """Describe the slices that are new, and those confirmed in the later run whose accuracy is too low."""
        found = []
        for one in comparison.slices:
            after = one.after
            if self.new_against is not None and one.status == "new":
                found.append(f"{one.name} is new: {one.sentence}")
            elif (
                self.accuracy_below is not None
                and comparison.higher_is_better
                and after is not None
                and after.verdict == "confirmed"
                and after.inside.inside < self.accuracy_below
            ):
                found.append(_describe_failure(one.name, after.inside, self.accuracy_below))
        return found

    def describe_pass(self) -> str:
        """Return what was checked, if a run does not fail."""
        checked = []
        if self.accuracy_below is not None:
            checked.append(f"nothing confirmed is less accurate than {percent(self.accuracy_below)}")
        if self.new_against is not None:
            checked.append(f"no slice is new against {self.new_against.run}")
        return f"fail_if passes: {', and '.join(checked)}"


def _describe_failure(name: str, accuracy: Contrast, minimum: float) -> str:
    interval = ""
    if accuracy.interval is not None:
        low, high = map(percent, accuracy.interval)
        interval = f" (95\u202f% interval {low} to {high})"
    return (
        f"{name}: the model is right on {percent(accuracy.inside)} of it{interval}, below {percent(minimum)}"
    )
