"""Compares two runs slice by slice: which failures are fixed, which persist, and which are new."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_array

from weakspot.evaluation.confirmation import LEVEL
from weakspot.evaluation.contrasts import Contrast
from weakspot.evaluation.differences import Difference, correlation, difference
from weakspot.findings.comparison import (
    SCHEMA,
    ComparedRun,
    ComparedSlice,
    Comparison,
    FoundIn,
    SlicePerformance,
    Status,
)
from weakspot.findings.comparison_sentences import (
    SAME_ANSWERS,
    comparison_title,
    how_it_was_tested,
    slice_sentence,
)
from weakspot.findings.example_outcomes import fails_more
from weakspot.findings.measured_parts import ComparedPart, MeasuredParts
from weakspot.findings.runs_to_compare import (
    RunToCompare,
    check_comparable,
    have_same_answers,
    shared_rows,
)
from weakspot.findings.slice_parts import leading_labels
from weakspot.methods import method_of, weights_of
from weakspot.slices import as_weights

_REMAINING = 0.5  # share of a gap: a slice is fixed if significantly less than this is left
_SAME_PLACE = 0.5  # share of the smaller of two slices that lies in the other


def compare_slices(
    before: RunToCompare,
    after: RunToCompare,
    *,
    command: str = "",
    created: datetime | None = None,
    level: float = LEVEL,
    seed: int = 0,
) -> Comparison:
    """Compare two runs: which slices are fixed, which persist, and which are new.

    Every slice is measured in both runs, on examples that were not searched for it. If the runs hold the same examples,
    it is measured on the same ones in both (matched by id), whatever the embeddings: memberships are those of the run
    that found the slice, and outcomes are compared pairwise. If the runs hold different examples of the same model, the
    slice is applied to the other run's embeddings.

    Args:
        before: The earlier run, or the baseline.
        after: The later run.
        command: The command line that was typed.
        created: When the comparison was made; now by default.
        level: The false discovery rate of each run's slices in each run.
        seed: The seed of permutations.

    Returns:
        The comparison.

    Raises:
        ValueError: If the two cannot be compared, with the reason.
    """
    paired, notes = check_comparable(before, after)
    same_answers = paired and have_same_answers(before, after)
    tested: dict[FoundIn, int] = {}
    compared: dict[FoundIn, list[ComparedSlice]] = {}
    parts: dict[FoundIn, list[ComparedPart]] = {}
    measure = ""
    directions: tuple[tuple[FoundIn, RunToCompare, RunToCompare], ...] = (
        ("before", before, after),
        ("after", after, before),
    )
    for found_in, own, other in directions:
        parts[found_in] = _split_slices(own)
        in_own, in_other = _measure_in_both_runs(own, other, parts[found_in], paired)
        tested[found_in], measure = len(in_own.outcomes.losses), in_own.measure
        compared[found_in] = _compare_parts(
            found_in, own, parts[found_in], in_own, in_other, paired, same_answers, level, seed
        )
    if paired:
        overlaps = _overlaps(before, after, parts["before"], parts["after"])
        old, new = compared["before"], compared["after"]
        compared = {
            "before": _with_counterparts(old, new, overlaps),
            "after": _with_counterparts(new, old, overlaps.T),
        }
    slices = [*compared["before"], *compared["after"]]
    mean_before, mean_after, change = _overall_change(before, after, paired, same_answers)
    return Comparison(
        schema=SCHEMA,
        title=comparison_title(slices),
        measure=measure,
        before=_compared_run(before, after, mean_before),
        after=_compared_run(after, before, mean_after),
        paired=paired,
        tested=tested,
        change=change,
        slices=tuple(slices),
        explanation=how_it_was_tested(paired, tested, level),
        notes=(*notes, *([SAME_ANSWERS] if same_answers else [])),
        level=level,
        command=command,
        created=(created or datetime.now().astimezone()).isoformat(timespec="seconds"),
    )


def _split_slices(own_run: RunToCompare) -> list[ComparedPart]:
    """Split the slices of a run by label as its findings are, by the searched examples if there are any."""
    searched = own_run.slices.searched_mask
    rows = np.flatnonzero(searched) if searched.any() else np.arange(len(searched))
    measured = MeasuredParts.of(own_run, rows)
    parts = []
    for j, weights in enumerate(as_weights(own_run.slices.weights)[:, rows]):
        labels = leading_labels(measured.outcomes, weights) if measured.audited.by_label else ()
        parts += [ComparedPart(j, (label,)) for label in labels] or [ComparedPart(j, ())]
    return parts


def _measure_in_both_runs(
    own_run: RunToCompare, other: RunToCompare, parts: Sequence[ComparedPart], paired: bool
) -> tuple[MeasuredParts, MeasuredParts]:
    """Measure the slices of `own_run` in that run and in the other one; if paired, on the same examples row for row."""
    held_out = ~own_run.slices.searched_mask
    weights = as_weights(own_run.slices.weights)
    if paired:
        own_rows, other_rows = shared_rows(own_run, other)
        own_rows, other_rows = own_rows[held_out[own_rows]], other_rows[held_out[own_rows]]
        return (
            MeasuredParts.of(own_run, own_rows, parts, weights[:, own_rows]),
            MeasuredParts.of(other, other_rows, parts, weights[:, own_rows]),
        )
    own_rows, other_rows = np.flatnonzero(held_out), np.arange(len(other.predictions))
    carried = weights_of(own_run.slices, other.predictions) if parts else None
    return MeasuredParts.of(own_run, own_rows, parts, weights[:, own_rows]), MeasuredParts.of(
        other, other_rows, parts, carried
    )


def _compare_parts(
    found_in: FoundIn,
    own_run: RunToCompare,
    parts: Sequence[ComparedPart],
    in_own: MeasuredParts,
    in_other: MeasuredParts,
    paired: bool,
    same_answers: bool,
    level: float,
    seed: int,
) -> list[ComparedSlice]:
    """Compare every part that is worse than the rest in the run that found it."""
    result = []
    evidence = zip(parts, in_own.evidence(level, seed), in_other.evidence(level, seed), strict=True)
    for i, (part, own_evidence, other_evidence) in enumerate(evidence):
        if fails_more(in_own.outcomes, in_own.outcomes.memberships[i]) is False:
            continue  # it is not worse than the rest, so the report of its run does not call it a failure either
        performances = in_own.performance(i, own_evidence), in_other.performance(i, other_evidence)
        before, after = performances if found_in == "before" else performances[::-1]
        change = None
        if before is not None and after is not None:
            weights = in_own.outcomes.counts * in_own.outcomes.memberships[i]
            change = _change(before.inside, after.inside, in_own, in_other, weights, paired, same_answers)
        status = status_of(found_in, *performances, change, in_own.measure)
        label = own_run.predictions.classes()[part.labels[0]] if part.labels else None
        result.append(
            ComparedSlice(
                found=found_in,
                number=i + 1,
                slice=part.slice + 1,
                label=label,
                name=_name(own_run, part.slice + 1, label),
                status=status,
                sentence=slice_sentence(found_in, status, before, after, change, in_own.measure),
                before=before,
                after=after,
                change=change,
                same_as=None,
            )
        )
    return result


def _name(own_run: RunToCompare, number: int, label: str | None) -> str:
    """Return the slice's own name, with that of the finding that it is part of."""
    named = (
        own_run.slice_names[number - 1]
        if own_run.slice_names
        else f"{method_of(own_run.slices).noun} {number}"
    )
    name = named + ("" if label is None else f", label = {label}")
    holding = (
        one for one in own_run.findings if number in one.parts and (not one.labels or label in one.labels)
    )
    finding = next(holding, None)
    return name if finding is None or finding.name.startswith(name) else f"{name} ({finding.subject})"


def status_of(
    found_in: FoundIn,
    own: SlicePerformance | None,
    other: SlicePerformance | None,
    change: Difference | None,
    measure: str,
) -> Status:
    """Decide whether a slice that one of two runs found is fixed, persisting, new or unclear.

    It must be confirmed in its own run. It persists if it is confirmed in the other run, too. Otherwise it is fixed (or
    new) if the change is significant, and if significantly less than half of the gap to other examples of the same
    labels is left in the other run. Everything else is unclear: a slice that is not confirmed is not shown to be gone.

    Args:
        found_in: Which run found it.
        own, other: How the model does on it in that run, and in the other.
        change: The measure after minus the measure before.
        measure: accuracy, for which higher is better, or another measure, for which lower is better.

    Returns:
        The status.
    """
    if own is None or other is None or change is None or own.verdict != "confirmed":
        return "unclear"
    if other.verdict == "confirmed":
        return "persisting"
    if own.gap is None or other.gap is None or other.gap.interval is None:
        return "unclear"
    better = change.sign * (1 if measure == "accuracy" else -1) * (1 if found_in == "before" else -1)
    gone = other.gap.interval[1] < _REMAINING * own.gap.value
    return ("fixed" if found_in == "before" else "new") if better > 0 and gone else "unclear"


def _overlaps(
    before: RunToCompare, after: RunToCompare, old: Sequence[ComparedPart], new: Sequence[ComparedPart]
) -> Float[np.ndarray, "b a"]:
    """Return how much of the smaller of two parts lies in the other, (b, a), over the examples that both runs hold."""
    rows = shared_rows(before, after)
    memberships = [
        MeasuredParts.of(one, some, parts, as_weights(one.slices.weights)[:, some]).outcomes.memberships
        for one, some, parts in zip((before, after), rows, (old, new), strict=True)
    ]
    of_before, of_after = ([csr_array(one[None]) for one in some] for some in memberships)
    shared = np.array([[one.minimum(other).sum() for other in of_after] for one in of_before]).reshape(
        len(old), len(new)
    )
    sizes = [np.array([one.sum() for one in some]) for some in (of_before, of_after)]
    overlaps: np.ndarray = shared / np.maximum(np.minimum(sizes[0][:, None], sizes[1]), 1e-300)
    return overlaps


def _with_counterparts(
    compared: Sequence[ComparedSlice], others: Sequence[ComparedSlice], overlaps: Float[np.ndarray, "m o"]
) -> list[ComparedSlice]:
    """Give every compared slice the number of the other run's slice that is mostly the same."""

    def counterpart(one: ComparedSlice) -> int | None:
        shares = {other.number: float(overlaps[one.number - 1, other.number - 1]) for other in others}
        best = max(shares, key=lambda number: shares[number], default=None)
        return best if best is not None and shares[best] >= _SAME_PLACE else None

    return [replace(one, same_as=counterpart(one)) for one in compared]


def _overall_change(
    before: RunToCompare, after: RunToCompare, paired: bool, same_answers: bool
) -> tuple[Contrast, Contrast, Difference]:
    """Return the mean over all examples that both runs hold, in each run, and the change."""
    everything = np.arange(len(before.predictions)), np.arange(len(after.predictions))
    rows = shared_rows(before, after) if paired else everything
    in_old, in_new = (MeasuredParts.of(one, which) for one, which in zip((before, after), rows, strict=True))
    old, new = (
        one.contrast(one.outcomes.counts, np.zeros(len(one.outcomes.counts))) for one in (in_old, in_new)
    )
    change = _change(old, new, in_old, in_new, in_old.outcomes.counts, paired, same_answers)
    return old, new, change


def _change(
    before: Contrast,
    after: Contrast,
    one: MeasuredParts,
    other: MeasuredParts,
    weights: Float[np.ndarray, " m"],
    paired: bool,
    same_answers: bool,
) -> Difference:
    """Return the weighted mean after minus before; if paired, both runs hold the same examples row for row.

    The change is zero for certain only if both runs have the same model's answers: two models that agree on a few
    examples may differ on others.
    """
    if same_answers:
        return Difference(0.0, (0.0, 0.0))
    return difference(before, after, correlation(one.values, other.values, weights) if paired else 0.0)


def _compared_run(run: RunToCompare, other: RunToCompare, measured: Contrast) -> ComparedRun:
    manifest, typed_for_other = run.predictions.manifest, _settings_typed(other.command)
    words = {name: str(manifest.get(name) or "") for name in ("dataset", "model", "split")}
    return ComparedRun(
        run=run.run,
        method=run.slices.method,
        slices=len(run.slices),
        examples=len(run.predictions),
        measured=measured,
        differs_by=tuple(word for word in _settings_typed(run.command) if word not in typed_for_other),
        **words,
    )


def _settings_typed(command: str) -> list[str]:
    """Return the settings on a command line, without the folder of the run."""
    try:
        words = shlex.split(command)
    except ValueError:  # a command written by hand, with an unclosed quotation mark
        return []
    return [word for word in words if ("=" in word and not word.startswith("hydra.")) or word.startswith("~")]
