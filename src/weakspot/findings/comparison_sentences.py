"""The sentences of a comparison of two runs."""

from __future__ import annotations

from collections.abc import Sequence

from weakspot.evaluation.differences import Difference
from weakspot.findings.comparison import STATUSES, ComparedSlice, FoundIn, SlicePerformance, Status
from weakspot.findings.numbers import count, decimal, percent, signed

SAME_ANSWERS = (
    "Both runs read the same model's answers, so that only what was found can differ between them: every difference is "
    "exactly zero."
)


def comparison_title(slices: Sequence[ComparedSlice]) -> str:
    """Return how many slices are fixed, persisting, new and unclear; one that both runs found counts once."""
    numbers = {status: sum(one.status == status for one in slices) for status in STATUSES}
    persisting = sum(one.status == "persisting" and one.found == "after" for one in slices)
    persisting = max(persisting, numbers["persisting"] - persisting)
    if not slices:
        return "Neither run found a slice"
    unclear = f", {numbers['unclear']} unclear" if numbers["unclear"] else ""
    return f"{numbers['fixed']} fixed, {persisting} persisting, {numbers['new']} new{unclear}"


def how_it_was_tested(paired: bool, tested: dict[FoundIn, int], level: float) -> str:
    """Return which examples slices were measured on, and what it means that one is confirmed.

    Args:
        paired: Whether both runs hold the same examples.
        tested: How many examples the slices that each run found are tested on.
        level: The false discovery rate.
    """
    if paired:
        n = {tested["before"], tested["after"]}
        examples = " and ".join(count(m) for m in sorted(n))
        where = f"on the same {examples} examples in both runs, which the run that found it did not search"
    else:
        where = (
            "in its own run on examples that were not searched, and in the other run, which holds other examples, "
            "on all of them"
        )
    return (
        f"Every slice is measured {where}. It is confirmed by a rank test of the losses within labels; of those "
        f"called confirmed, at most {percent(level)} are expected to be chance. A failure that persists has a row for "
        "each run that found it, and counts once in the title."
    )


def slice_sentence(
    found_in: FoundIn,
    status: Status,
    before: SlicePerformance | None,
    after: SlicePerformance | None,
    change: Difference | None,
    measure: str,
) -> str:
    """Return what is claimed about a slice, with its numbers; the arguments are fields of `ComparedSlice`."""
    if before is None or after is None or change is None:
        return "None of the examples that can be measured lies in it."
    show = percent if measure == "accuracy" else decimal
    words, on = (
        ("the model was right on", "on ")
        if measure == "accuracy"
        else (f"the {_measure_in_words(measure)} was", "")
    )
    sentence = f"Before, {words} {show(before.inside.inside)}, and after {on}{show(after.inside.inside)}"
    share = measure == "accuracy"
    sentence += f" ({signed(change.value, share)}{' points' if share else ''}"
    if change.interval is not None:
        low, high = (signed(bound, share) for bound in change.interval)
        sentence += f"; 95\u202f% interval {low} to {high}"
    return f"{sentence}). {_verdict(found_in, status, before, after, change, measure)}"


def _verdict(
    found_in: str,
    status: Status,
    before: SlicePerformance,
    after: SlicePerformance,
    change: Difference,
    measure: str,
) -> str:
    match status:
        case "fixed":
            return "It was worse than other examples with its labels, and less than half of that gap is left."
        case "new":
            return "It is worse than other examples with its labels, and less than half of that gap was there before."
        case "persisting":
            better = change.sign * (1 if measure == "accuracy" else -1)
            trend = {1: "; it has become better", -1: "; it has become worse", 0: ""}[better]
            return f"It is worse than other examples with its labels in both runs{trend}."
    own, other, where = (before, after, "after") if found_in == "before" else (after, before, "before")
    if own.verdict != "confirmed":
        return "It is not confirmed in the run that found it."
    few = other.verdict == "too_few"
    outcome = "too few examples lie in it" if few else "it is not confirmed, but not shown to be gone"
    return f"It is confirmed in the run that found it; {where}, {outcome}."


def _measure_in_words(measure: str) -> str:
    return "mean loss" if measure == "loss" else measure.upper()
