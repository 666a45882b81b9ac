"""One finding: its record, and the words in which its name and its extent are shown."""

from __future__ import annotations

from dataclasses import dataclass

from weakspot.evaluation.confirmation import Verdict
from weakspot.evaluation.contrasts import Contrast
from weakspot.findings.class_errors import ClassErrors
from weakspot.findings.entries import Portrait
from weakspot.findings.numbers import count, counts_examples, examples, extent, percent
from weakspot.findings.region_names import Condition

_WHOLE = 0.9
"""From this share on, a name is shown without qualification."""


@dataclass(frozen=True)
class Finding:
    """A region of examples on which the model fails (or does best, if that is searched for), with its evidence.

    Attributes:
        number: Its number from 1 on, most errors explained first.
        name: Its name: `group = red_≥5`. It is shown with how well it fits, by `holds_for` and `covers`.
        sentence: What is claimed and how sure it is, in two or three sentences.
        verdict: confirmed, explained_by_label, not_confirmed, too_few or not_tested, as in `Evidence`.
        p: The p-value of the label-stratified rank test on held-out examples; None if nothing was tested.
        p_corrected: The same, corrected for how many were tested (Benjamini-Yekutieli).
        examples: How many examples it extends over.
        errors_explained: The share of all errors that lie in it: of all squared or absolute errors for ratings and
            numbers, of all loss if only losses are known, of all right answers if the best-served examples are searched
            for.
        accuracy, loss, error: The means inside, with an interval, and outside, on held-out examples if there are any.
            `error` is the task's own measure (RMSE, MAE) for ratings and numbers.
        parts: Numbers of the slices that it is made of.
        top_examples: The ids of its top examples, in the order of `portrait.top`.
        conditions: The conditions that name it, if attributes do.
        holds_for: The share of its examples for which the conditions hold.
        covers: The share of the examples for which the conditions hold that lie in it.
        labels: The labels that it is confined to; none if it is not.
        portrait: What its examples look like.
        held_out: How many held-out examples lie in it, by their weights and counts like `examples`; `accuracy`, `loss`,
            `error`, `confidence` and `bias` are measured on them. None if nothing was tested, and in files of an
            earlier version.
        confidence: The mean probability that the model gives its most likely answer, inside and outside, on the same
            examples as `accuracy`. Low confidence inside suggests a decision boundary. A gap between confidence and
            accuracy does not show poor calibration if a finding is confined to a label: the label selects errors.
            None if outputs are unknown, for several labels at once, ratings and numbers, if one category is audited,
            and in files of an earlier version.
        bias: The mean of prediction minus label, inside and outside, for ratings and numbers: positive if predictions
            are too high. None for other tasks, and in files of an earlier version.
        class_errors: For several labels at once, which classes the model misses, or sees where they are not, more often
            inside than outside, on the same examples. Empty if there are none, if nothing was tested, for other tasks,
            if the best-served examples are searched for, and in files of an earlier version.
    """

    number: int
    name: str
    sentence: str
    verdict: Verdict
    p: float | None
    p_corrected: float | None
    examples: float
    errors_explained: float | None
    accuracy: Contrast | None
    loss: Contrast | None
    error: Contrast | None
    parts: tuple[int, ...]
    top_examples: tuple[str, ...]
    conditions: tuple[Condition, ...]
    holds_for: float | None
    covers: float | None
    labels: tuple[str, ...]
    portrait: Portrait
    held_out: float | None = None
    confidence: Contrast | None = None
    bias: Contrast | None = None
    class_errors: tuple[ClassErrors, ...] = ()

    @property
    def size_text(self) -> str:
        """How many examples it extends over, as a number to show; `extent_text` puts it in words."""
        return count(round(self.examples) if self._is_estimate else self.examples)

    @property
    def extent_text(self) -> str:
        """How many examples it extends over: `about 186 examples`, `40 examples of weight 0.4 in all`."""
        if self._is_estimate:
            return f"about {examples(round(self.examples))}"
        return extent(self.examples, self.portrait.members)

    @property
    def _is_estimate(self) -> bool:
        """Whether its number of examples is an estimate, whose decimals mean nothing."""
        return self.confirmed and round(self.examples) > 1

    @property
    def is_single(self) -> bool:
        """Whether it is one example, of whatever weight: its sentences are then in the singular."""
        if self._is_estimate:
            return False
        return self.examples == 1 if counts_examples(self.examples) else self.portrait.members == 1

    @property
    def subject(self) -> str:
        """The name, as it is shown: `53 % of pen = felt, among others`.

        The share is that of the named examples that lie inside; "among others" says that the name does not hold for
        others inside. Each is left out if the name fits well enough without it, or if no conditions name the finding.
        """
        share = "" if self.covers is None or self.covers >= _WHOLE else f"{percent(self.covers)} of "
        others = "" if self.holds_for is None or self.holds_for >= _WHOLE else ", among others"
        return f"{share}{self.name}{others}"

    @property
    def only_loss_differs(self) -> bool:
        """Whether it was confirmed although the accuracy outside lies in the interval of that inside."""
        if not self.confirmed or self.loss is None or self.accuracy is None:
            return False
        outside, interval = self.accuracy.outside, self.accuracy.interval
        return outside is not None and interval is not None and interval[0] <= outside <= interval[1]

    @property
    def confirmed(self) -> bool:
        """Whether it was confirmed on held-out examples."""
        return self.verdict == "confirmed"
