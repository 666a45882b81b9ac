"""A gate for continuous integration: what a run must not have found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weakspot.evaluation.contrasts import Contrast
from weakspot.findings import Findings
from weakspot.findings.compare_slices import RunToCompare, check_comparable
from weakspot.findings.comparison import Comparison
from weakspot.findings.numbers import percent
from weakspot.findings.record import Slice
from weakspot.methods import Method
from weakspot.predictions import Predictions
from weakspot.slices import Slices


@dataclass(frozen=True, eq=False)
class Gate:
    """What a run fails for (`fail_if` on the command line).

    Attributes:
        accuracy_below: A confirmed slice that the model is right on less often than that.
        new_against: The baseline: a slice that is new against it.
    """

    accuracy_below: float | None = None
    new_against: RunToCompare | None = None

    @property
    def asked(self) -> bool:
        """Whether there is anything to fail for."""
        return self.accuracy_below is not None or self.new_against is not None

    def check(self, p: Predictions, method: Method | None = None) -> None:
        """Raise ValueError where it could not be decided, before anything is searched.

        Args:
            p: The predictions that are to be searched, or as much of them as is known: ids, labels and the task.
            method: The method that is to search them, if one is.
        """
        least = self.accuracy_below
        if least is not None:
            if not 0 < least <= 1:
                raise ValueError(f"fail_if.accuracy_below={least:g} must be a share, above 0 and at most 1")
            if (p.task is not None and not p.task.by_accuracy) or (p.task is None and p.correct is None):
                raise ValueError(
                    f"fail_if.accuracy_below={least:g} needs answers that are right or wrong, and these predictions "
                    "have none"
                )
        if self.new_against is not None:
            settings = {} if method is None else {"settings": method.get_params()}
            word = "" if method is None else method.word
            nothing = Slices(word, p.ids, np.empty((0, len(p))), (), provenance=settings)
            check_comparable(self.new_against, RunToCompare("this run", nothing, p))

    def failures(self, findings: Findings) -> list[str]:
        """The confirmed slices that are below the accuracy, each with its name and interval.

        Raises ValueError where nothing was tested, so that nothing can be said.
        """
        if not self.asked:
            return []
        if findings.confirmation.mode not in ("held_out", "other"):
            raise ValueError(
                "fail_if cannot be decided, for nothing was tested: too few examples could be set aside"
            )
        if self.accuracy_below is None:
            return []
        return [
            _below(_name(findings, one), one.evidence.accuracy, self.accuracy_below)
            for one in findings.slices
            if one.evidence.verdict == "confirmed"
            and one.evidence.accuracy is not None
            and one.evidence.accuracy.inside < self.accuracy_below
        ]

    def failures_of(self, comparison: Comparison) -> list[str]:
        """Slices that are new; and those confirmed in the later run that are below the accuracy."""
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
                found.append(_below(one.name, after.inside, self.accuracy_below))
        return found


def sentence(failures: Sequence[str]) -> str:
    """What the gate says when it closes."""
    return "\n".join(["fail_if:", *(f"  {one}" for one in failures)])


def _name(findings: Findings, one: Slice) -> str:
    """A slice's own name, with that of the finding that it is part of."""
    home = next((finding.name for finding in findings.findings if finding.number == one.finding), one.name)
    return one.name if home.startswith(one.name) else f"{one.name} ({home})"


def _below(name: str, accuracy: Contrast, least: float) -> str:
    interval = ""
    if accuracy.interval is not None:
        low, high = map(percent, accuracy.interval)
        interval = f" (95\u202f% interval {low} to {high})"
    return f"{name}: the model is right on {percent(accuracy.inside)} of it{interval}, below {percent(least)}"
