"""The examples that slices are described over, and those that they are tested on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from weakspot.findings.audited_examples import AuditedExamples, audit_examples
from weakspot.findings.entries import Confirmation, Mode
from weakspot.findings.example_outcomes import ExampleOutcomes
from weakspot.findings.numbers import count
from weakspot.findings.sentences import explain_test
from weakspot.methods import method_of, weights_of
from weakspot.predictions import Predictions
from weakspot.predictions.other_examples import examples_to_test
from weakspot.slices import Slices, as_weights


@dataclass(frozen=True, eq=False)
class ExampleSets:
    """Holds the r examples that slices are described over, and the m examples that they are tested on.

    Attributes:
        described, tested: Both sets; `tested` is `described` itself if nothing could be tested.
        described_outcomes, tested_outcomes: The same with the memberships of the slices.
        searched: (r,) which of the described examples were searched for slices. It is all of them if the slices were
            found elsewhere, because any example may then show where a slice lies.
        mode: As in `Confirmation`.
        left_out: How many examples of other predictions are not tested on because they were searched, too.
    """

    described: AuditedExamples
    tested: AuditedExamples
    described_outcomes: ExampleOutcomes
    tested_outcomes: ExampleOutcomes
    searched: Bool[np.ndarray, " r"]
    mode: Mode
    left_out: int = 0

    @property
    def has_test(self) -> bool:
        """Whether there are examples that the slices were not found in."""
        return self.mode in ("held_out", "other")

    @property
    def tests_others(self) -> bool:
        """Whether the tested examples are not among those described."""
        return self.mode == "other" and self.tested is not self.described


def choose_example_sets(
    predictions: Predictions,
    slices: Slices,
    confirm: Predictions | Bool[np.ndarray, " n"] | None,
    better: bool,
    category: bool,
) -> ExampleSets:
    """Choose the examples that slices are described over and tested on.

    Args:
        predictions: The n examples that the slices are described over.
        slices: The slices, with a weight for each of these examples.
        confirm: What to test on, as for `Findings.build`.
        better: Whether the best-served examples are searched for.
        category: Whether one category is audited.

    Returns:
        Both sets.

    Raises:
        ValueError: If nothing distinguishes good examples from bad ones, or other predictions cannot test these slices.
    """
    method = method_of(slices)
    described = audit_examples(method.audited(predictions), better, category)
    outcomes = described.outcomes(as_weights(slices.weights)[:, described.rows])
    everywhere = np.ones(len(described.rows), dtype=bool)
    if confirm is None:
        return ExampleSets(described, described, outcomes, outcomes, everywhere, "off")
    if isinstance(confirm, Predictions):
        other, left_out = examples_to_test(confirm, predictions)
        try:
            tested = audit_examples(method.audited(other), better, category)
            tested_outcomes = tested.outcomes(weights_of(slices, other)[:, tested.rows])
        except ValueError as error:
            raise ValueError(f"slices cannot be tested on the record of confirm: {error}") from error
        return ExampleSets(described, tested, outcomes, tested_outcomes, everywhere, "other", left_out)
    mask = np.asarray(confirm, dtype=bool)
    if mask.shape != (len(predictions),):
        given = f"of shape {mask.shape}" if mask.ndim else repr(confirm)
        raise ValueError(
            f"confirm is other predictions, or a mask of the {len(predictions)} examples, not {given}; leave it out to "
            "test nothing (weakspot.evaluation.held_out makes a mask of a share, which the method must not have "
            "searched)"
        )
    held_out = mask[described.rows]
    if held_out.all():
        return ExampleSets(described, described, outcomes, outcomes, everywhere, "other")
    if not held_out.any():
        return ExampleSets(described, described, outcomes, outcomes, everywhere, "too_few")
    tested = described.take(held_out)
    tested_outcomes = tested.outcomes(as_weights(outcomes.memberships)[:, held_out])
    return ExampleSets(described, tested, outcomes, tested_outcomes, ~held_out, "held_out")


def describe_confirmation(
    sets: ExampleSets, searched: int | None, source: str, level: float, group: str = ""
) -> Confirmation:
    """Describe how the slices were tested.

    Args:
        sets: The examples.
        searched: How many examples were searched for slices, if these are not among the described ones.
        source: The tested examples, in words.
        level: The false discovery rate.
        group: The attribute whose values are tested instead of examples, if there is one.
    """
    searched = int(sets.searched.sum()) if searched is None else searched
    tested = len(sets.tested_outcomes.losses) if sets.has_test else 0
    source = source_without(sets.left_out, source)
    return Confirmation(
        mode=sets.mode,
        searched=searched,
        tested=tested,
        source=source,
        level=level,
        on_others=sets.tests_others,
        explanation=explain_test(
            sets.mode, searched, tested, source, level, sets.described.compared_within, group
        ),
    )


def source_without(left_out: int, source: str) -> str:
    """Return the tested examples in words, with how many were left out because they were searched, too."""
    if not left_out:
        return source
    return f"{source or 'other examples'}, leaving out {count(left_out)} that had been searched"
