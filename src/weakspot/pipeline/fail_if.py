"""The conditions of `fail_if`, under which a run fails, for continuous integration."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from weakspot.evaluation.contrasts import Contrast
from weakspot.findings import Findings
from weakspot.findings.comparison import Comparison
from weakspot.findings.numbers import decimal, percent
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
        error_above: The same for ratings and numbers: the run fails if the error (RMSE, MAE) is higher than this.
        new_against: The run fails if a slice is new compared with this baseline.
    """

    accuracy_below: float | None = None
    error_above: float | None = None
    new_against: RunToCompare | None = None

    @property
    def is_set(self) -> bool:
        """Whether there is any condition."""
        return any(one is not None for one in (self.accuracy_below, self.error_above, self.new_against))

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
        self.check_measures(p)
        if self.new_against is not None:
            settings = {} if method is None else {"settings": method.get_params()}
            word = "" if method is None else method.word
            no_slices = Slices(word, p.ids, np.empty((0, len(p))), (), provenance=settings)
            check_comparable(self.new_against, RunToCompare("this run", no_slices, p))

    def check_measures(self, p: Predictions) -> None:
        """Check that predictions have the measures that the conditions are about, on which slices will be tested.

        Args:
            p: The predictions, or, before a model is run, what is known of them: ids, labels and the task.

        Raises:
            ValueError: If a limit is invalid, or the predictions do not have its measure.
        """
        known = (p.losses, p.outputs, p.predictions, p.correct)
        is_predicted = any(array is not None for array in known)
        minimum = self.accuracy_below
        if minimum is not None:
            if not 0 < minimum <= 1:
                raise ValueError(f"fail_if.accuracy_below={minimum:g} must be a share above 0 and at most 1")
            by_distance = p.task is not None and not p.task.by_accuracy
            if by_distance or (p.correct is None if is_predicted else p.task is None or p.labels is None):
                raise ValueError(
                    f"fail_if.accuracy_below={minimum:g} needs answers that are right or wrong, and these predictions "
                    "have none; for ratings and numbers set fail_if.error_above"
                )
        maximum = self.error_above
        if maximum is not None:
            if not 0 < maximum < math.inf:
                raise ValueError(f"fail_if.error_above={maximum:g} must be a finite number above 0")
            unpredicted = is_predicted and p.predictions is None and p.outputs is None
            if p.task is None or p.task.by_accuracy or p.labels is None or unpredicted:
                raise ValueError(
                    f"fail_if.error_above={maximum:g} needs predicted ratings or numbers with their labels, whose "
                    "error is RMSE or MAE, and these predictions have none; for right and wrong answers set "
                    "fail_if.accuracy_below"
                )

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
        confirmed = [finding for finding in findings.findings if finding.confirmed]
        for limit, name in ((self.accuracy_below, "accuracy"), (self.error_above, "error")):
            if limit is not None and any(getattr(finding, name) is None for finding in confirmed):
                raise ValueError(f"fail_if cannot be decided: the {name} of a confirmed finding is unknown")
        found = [self._accuracy_failure(finding.subject, finding.accuracy) for finding in confirmed]
        measure = findings.whole.measure
        found += [self._error_failure(finding.subject, finding.error, measure) for finding in confirmed]
        return [failure for failure in found if failure is not None]

    def comparison_failures(self, comparison: Comparison) -> list[str]:
        """Describe the slices that are new, and those confirmed in the later run on which the model is too bad.

        A slice that both runs found is described once, as the later run found it.

        Raises:
            ValueError: If the runs are compared by another measure than the conditions are about.
        """
        if (self.accuracy_below is not None and comparison.measure != "accuracy") or (
            self.error_above is not None and comparison.measure not in ("rmse", "mae")
        ):
            raise ValueError(
                f"fail_if cannot be decided, because these runs are compared by their {comparison.measure}"
            )
        failures: dict[tuple[str, int], str] = {}
        for one in sorted(comparison.slices, key=lambda one: one.found):  # "after" comes before "before"
            if one.same_as is not None and ("after", one.same_as) in failures and one.found == "before":
                continue
            after, failure = one.after, None
            if self.new_against is not None and one.status == "new":
                failure = f"{one.name} is new: {one.sentence}"
            elif after is not None and after.verdict == "confirmed" and comparison.higher_is_better:
                failure = self._accuracy_failure(one.name, after.inside)
            elif after is not None and after.verdict == "confirmed":
                failure = self._error_failure(one.name, after.inside, comparison.measure)
            if failure is not None:
                failures[one.found, one.number] = failure
        return list(failures.values())

    def describe_pass(self) -> str:
        """Return what was checked, if a run does not fail."""
        checked = []
        if self.accuracy_below is not None:
            checked.append(f"nothing confirmed is less accurate than {100 * self.accuracy_below:g}\u202f%")
        if self.error_above is not None:
            checked.append(f"nothing confirmed has an error above {self.error_above:g}")
        if self.new_against is not None:
            checked.append(f"no slice is new against {self.new_against.run}")
        return f"fail_if passes: {', and '.join(checked)}"

    def _accuracy_failure(self, name: str, accuracy: Contrast | None) -> str | None:
        """Return what is wrong if the accuracy inside is too low."""
        minimum = self.accuracy_below
        if minimum is None or accuracy is None or accuracy.inside >= minimum:
            return None
        limit = f"{100 * minimum:g}\u202f%"
        return f"{name}: the model is right on {_measured(accuracy, percent, ' of it')}, below {limit}"

    def _error_failure(self, name: str, error: Contrast | None, measure: str) -> str | None:
        """Return what is wrong if the error inside is too high."""
        maximum = self.error_above
        if maximum is None or error is None or error.inside <= maximum:
            return None
        return f"{name}: the {measure.upper()} is {_measured(error, decimal)}, above {maximum:g}"


def _measured(contrast: Contrast, show: Callable[[float], str], of: str = "") -> str:
    interval = ""
    if contrast.interval is not None:
        low, high = map(show, contrast.interval)
        interval = f" (95\u202f% interval {low} to {high})"
    return f"{show(contrast.inside)}{of}{interval}"
