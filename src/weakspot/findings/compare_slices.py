"""Compares two runs slice by slice: which failures are fixed, which persist, and which are new."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array

from weakspot.evaluation.confirmation import LEVEL, Evidence, confirm
from weakspot.evaluation.contrasts import Contrast, accuracy_contrast, loss_contrast
from weakspot.evaluation.differences import Difference, correlation, difference, match_label_mix
from weakspot.findings.audited_examples import AuditedExamples, audit_examples, group_values
from weakspot.findings.comparison import (
    SCHEMA,
    STATUSES,
    ComparedRun,
    ComparedSlice,
    Comparison,
    FoundIn,
    SlicePerformance,
    Status,
)
from weakspot.findings.example_outcomes import ExampleOutcomes, fails_more
from weakspot.findings.numbers import count, decimal, percent, signed
from weakspot.findings.record import Finding
from weakspot.findings.region_contrasts import in_task_measure
from weakspot.findings.slice_parts import leading_labels
from weakspot.methods import apply, memberships_of, method_of
from weakspot.predictions import Predictions
from weakspot.slices import Memberships, Slices, Weights, as_weights

MIN_TESTED_EXAMPLES = 20
"""The fewest examples that the slices of a run may be measured on."""

_REMAINING = 0.5  # share of a gap: of what is fixed less is left, beyond chance
_SAME_PLACE = 0.5  # share of the smaller of two slices that lies in the other


@dataclass(frozen=True, eq=False)
class RunToCompare:
    """Holds what a comparison needs of a run.

    Attributes:
        run: Its folder, in words.
        slices: The slices that it found, with a weight for each of the predictions.
        predictions: The examples that it found them in.
        findings: What it reported of the slices; they are named after it.
        command: The command line that was typed for it.
    """

    run: str
    slices: Slices
    predictions: Predictions
    findings: Sequence[Finding] = ()
    command: str = ""


@dataclass(frozen=True)
class _ComparedPart:
    """A slice, or the part of it that has one label, split as for findings: what is compared.

    Attributes:
        slice: The position of the slice.
        labels: Codes of the labels that the part has; none if it is all of the slice.
    """

    slice: int
    labels: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _MeasuredParts:
    """Measures parts of slices on examples of one run, none of which the slices were sought in."""

    audited: AuditedExamples
    outcomes: ExampleOutcomes

    @classmethod
    def of(
        cls,
        run: RunToCompare,
        rows: Int[np.ndarray, " m"],
        parts: Sequence[_ComparedPart] = (),
        weights: Weights | None = None,
    ) -> _MeasuredParts:
        """Take rows (m,) of a run, with memberships in parts of slices that have these weights (k, m) there."""
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
        """(m,) what every example adds to the measure."""
        if self.audited.unit_errors is not None:
            return self.audited.unit_errors
        return (
            self.outcomes.losses
            if self.outcomes.correct is None
            else self.outcomes.correct.astype(np.float64)
        )

    @property
    def measure(self) -> str:
        """The measure's word: accuracy, loss, rmse or mae."""
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
        tested = self.outcomes
        if not len(tested.memberships):
            return []
        return confirm(
            tested.memberships,
            tested.losses,
            tested.correct,
            tested.strata,
            tested.counts,
            level=level,
            seed=seed,
            groups=tested.groups,
        )

    def performance(self, j: int, evidence: Evidence) -> SlicePerformance | None:
        """Measure how the model does on part j; None where none of the examples lies in it."""
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

    Every slice is measured in both runs, on examples that it was not sought in. Where the runs hold the same examples,
    these are the same examples (by id), whatever the embeddings: an example belongs to a slice as the run that found
    it says, and the difference is one of paired outcomes. Where they hold other examples of the same model, the slice
    is applied to the other run's embeddings.

    Args:
        before: The earlier run, or the baseline.
        after: The later run.
        command: The command line that was typed.
        created: When the comparison was made; now by default.
        level: The false discovery rate of each run's slices in each run.
        seed: Of permutations.

    Returns:
        The comparison.

    Raises:
        ValueError: If the two cannot be compared, with the reason.
    """
    paired, notes = check_comparable(before, after)
    tested: dict[FoundIn, int] = {}
    compared: dict[FoundIn, list[ComparedSlice]] = {}
    parts: dict[FoundIn, list[_ComparedPart]] = {}
    measure = ""
    directions: tuple[tuple[FoundIn, RunToCompare, RunToCompare], ...] = (
        ("before", before, after),
        ("after", after, before),
    )
    for found, own, other in directions:
        parts[found] = _split_slices(own)
        in_own, in_other = _measure_in_both_runs(own, other, parts[found], paired)
        tested[found], measure = len(in_own.outcomes.losses), in_own.measure
        compared[found] = _compare_parts(found, own, parts[found], in_own, in_other, paired, level, seed)
    if paired:
        overlaps = _overlaps(before, after, parts["before"], parts["after"])
        old, new = compared["before"], compared["after"]
        compared = {
            "before": _with_counterparts(old, new, overlaps),
            "after": _with_counterparts(new, old, overlaps.T),
        }
    slices = [*compared["before"], *compared["after"]]
    mean_before, mean_after, change = _overall_change(before, after, paired)
    return Comparison(
        schema=SCHEMA,
        title=_title(slices, before, after),
        measure=measure,
        before=_compared_run(before, after, mean_before),
        after=_compared_run(after, before, mean_after),
        paired=paired,
        tested=tested,
        change=change,
        slices=tuple(slices),
        explanation=_explanation(paired, tested, level),
        notes=tuple(notes),
        level=level,
        command=command,
        created=(created or datetime.now().astimezone()).isoformat(timespec="seconds"),
    )


def check_comparable(before: RunToCompare, after: RunToCompare) -> tuple[bool, list[str]]:
    """Check that two runs can be compared.

    Args:
        before: The earlier run.
        after: The later run.

    Returns:
        Whether both runs hold the same examples, and words of caution.

    Raises:
        ValueError: If they cannot be compared, with the reason and what to do.
    """
    for one in (before, after):
        method = method_of(one.slices)
        if method.seeks != "worse":
            raise ValueError(f"{one.run} sought what is served best, and only failures are compared")
        if not method.audited(one.predictions).rows.all():
            raise ValueError(
                f"{one.run} audits one category alone, whose examples depend on the model; compare runs that judge "
                "all examples"
            )
    old, new = before.predictions, after.predictions
    if (old.task is None) != (new.task is None) or (
        old.task and new.task and (old.task.kind, old.task.classes) != (new.task.kind, new.task.classes)
    ):
        raise ValueError(
            f"{before.run} and {after.run} are of different tasks ({_task(old)}; {_task(new)}); compare runs of one "
            "task"
        )
    old_rows, new_rows = _shared_rows(before, after)
    if not len(old_rows):
        return False, _check_same_model(before, after)
    if old.labels is not None and new.labels is not None:
        different = (old.labels[old_rows] != new.labels[new_rows]).reshape(len(old_rows), -1).any(axis=1)
        if different.any():
            raise ValueError(
                f"{int(different.sum())} of the {len(old_rows)} examples that {before.run} and {after.run} share by id "
                "have other labels, so the ids do not name the same examples; give every example an id of its own"
            )
    for one, rows in ((before, old_rows), (after, new_rows)):
        left = int((~one.slices.searched_mask[rows]).sum())
        if left < MIN_TESTED_EXAMPLES and len(one.slices):
            raise ValueError(
                f"{one.run} searched all but {left} of the {len(old_rows)} examples that the two runs share, and "
                f"slices are compared on at least {MIN_TESTED_EXAMPLES} that they were not sought in: run it with "
                "confirm=0.5"
            )
    return True, []


def _check_same_model(before: RunToCompare, after: RunToCompare) -> list[str]:
    """Check that two runs without an example in common are of one model; return a note where nobody knows that."""
    weights = [(one.predictions.manifest.get("made_from") or {}).get("weights") for one in (before, after)]
    if None not in weights and weights[0] != weights[1]:
        raise ValueError(
            f"{before.run} and {after.run} have no example in common and are of different weights, so a slice of one "
            "says nothing of the other: run both models on the same split"
        )
    for one, other in ((before, after), (after, before)):
        left = int((~one.slices.searched_mask).sum())
        if left < MIN_TESTED_EXAMPLES and len(one.slices):
            raise ValueError(
                f"{one.run} searched all but {left} of its examples, and slices are compared on at least "
                f"{MIN_TESTED_EXAMPLES} that they were not sought in: run it with confirm=0.5"
            )
        if len(one.slices):
            apply(one.slices, other.predictions.take([0]))
    if None in weights:
        return ["The two runs have no example in common; they are taken to be of one model."]
    return []


def _task(p: Predictions) -> str:
    return "none" if p.task is None else " ".join([p.task.kind, ", ".join(p.task.classes[:6])]).strip()


def _split_slices(own: RunToCompare) -> list[_ComparedPart]:
    """Split the slices of a run by label as its findings are, by the searched examples where these are at hand."""
    searched = own.slices.searched_mask
    rows = np.flatnonzero(searched) if searched.any() else np.arange(len(searched))
    measured = _MeasuredParts.of(own, rows)
    parts = []
    for j, weights in enumerate(as_weights(own.slices.weights)[:, rows]):
        labels = leading_labels(measured.outcomes, weights) if measured.audited.by_label else ()
        parts += [_ComparedPart(j, (label,)) for label in labels] or [_ComparedPart(j, ())]
    return parts


def _measure_in_both_runs(
    own: RunToCompare, other: RunToCompare, parts: Sequence[_ComparedPart], paired: bool
) -> tuple[_MeasuredParts, _MeasuredParts]:
    """Measure the slices of `own` in its own run and in the other one; if paired, on the same examples row for row."""
    held_out = ~own.slices.searched_mask
    weights = as_weights(own.slices.weights)
    if paired:
        own_rows, other_rows = _shared_rows(own, other)
        own_rows, other_rows = own_rows[held_out[own_rows]], other_rows[held_out[own_rows]]
        return (
            _MeasuredParts.of(own, own_rows, parts, weights[:, own_rows]),
            _MeasuredParts.of(other, other_rows, parts, weights[:, own_rows]),
        )
    own_rows, other_rows = np.flatnonzero(held_out), np.arange(len(other.predictions))
    carried = memberships_of(own.slices, other.predictions) if parts else None
    return _MeasuredParts.of(own, own_rows, parts, weights[:, own_rows]), _MeasuredParts.of(
        other, other_rows, parts, carried
    )


def _shared_rows(
    one: RunToCompare, other: RunToCompare
) -> tuple[Int[np.ndarray, " s"], Int[np.ndarray, " s"]]:
    """Return the rows of the examples that both runs hold by id, (s,) of each run."""
    _, own_rows, other_rows = np.intersect1d(one.predictions.ids, other.predictions.ids, return_indices=True)
    return own_rows, other_rows


def _compare_parts(
    found: FoundIn,
    own: RunToCompare,
    parts: Sequence[_ComparedPart],
    in_own: _MeasuredParts,
    in_other: _MeasuredParts,
    paired: bool,
    level: float,
    seed: int,
) -> list[ComparedSlice]:
    """Compare every part that is worse than the rest in the run that found it."""
    result = []
    evidence = zip(parts, in_own.evidence(level, seed), in_other.evidence(level, seed), strict=True)
    for i, (part, own_evidence, other_evidence) in enumerate(evidence):
        if fails_more(in_own.outcomes, in_own.outcomes.memberships[i]) is False:
            continue  # it is no worse than the rest, so the report of its run does not call it a failure either
        performances = in_own.performance(i, own_evidence), in_other.performance(i, other_evidence)
        before, after = performances if found == "before" else performances[::-1]
        change = None
        if before is not None and after is not None:
            weights = in_own.outcomes.counts * in_own.outcomes.memberships[i]
            paired_correlation = correlation(in_own.values, in_other.values, weights) if paired else 0.0
            change = difference(before.inside, after.inside, paired_correlation)
        status = status_of(found, *performances, change, in_own.measure)
        label = own.predictions.classes()[part.labels[0]] if part.labels else None
        result.append(
            ComparedSlice(
                found=found,
                number=i + 1,
                slice=part.slice + 1,
                label=label,
                name=_name(own, part.slice + 1, label),
                status=status,
                sentence=_sentence(found, status, before, after, change, in_own.measure),
                before=before,
                after=after,
                change=change,
                same_as=None,
            )
        )
    return result


def _name(own: RunToCompare, number: int, label: str | None) -> str:
    """Return the slice's own name, with that of the finding that it is part of."""
    name = f"{method_of(own.slices).noun} {number}" + ("" if label is None else f", label = {label}")
    holding = (one for one in own.findings if number in one.parts and (not one.labels or label in one.labels))
    finding = next(holding, None)
    return name if finding is None or finding.name.startswith(name) else f"{name} ({finding.name})"


def status_of(
    found: FoundIn,
    own: SlicePerformance | None,
    other: SlicePerformance | None,
    change: Difference | None,
    measure: str,
) -> Status:
    """Decide what has become of a slice that one of two runs found.

    It must be confirmed in its own run. It persists where it is confirmed in the other run, too. It is fixed (or new)
    where it is not, where the change is beyond chance, and where less than half of the gap to others of the same
    labels is left in the other run, beyond chance, too. Everything else is unclear: that something is not confirmed
    does not show that it is gone.

    Args:
        found: Which run found it.
        own, other: How the model does on it in that run, and in the other.
        change: The measure after, less that before.
        measure: accuracy, of which more is better, or another measure, of which less is better.

    Returns:
        The status.
    """
    if own is None or other is None or change is None or own.verdict != "confirmed":
        return "unclear"
    if other.verdict == "confirmed":
        return "persisting"
    if own.gap is None or other.gap is None or other.gap.interval is None:
        return "unclear"
    better = change.sign * (1 if measure == "accuracy" else -1) * (1 if found == "before" else -1)
    gone = other.gap.interval[1] < _REMAINING * own.gap.value
    return ("fixed" if found == "before" else "new") if better > 0 and gone else "unclear"


def _overlaps(
    before: RunToCompare, after: RunToCompare, old: Sequence[_ComparedPart], new: Sequence[_ComparedPart]
) -> Float[np.ndarray, "b a"]:
    """Return how much of the smaller of two parts lies in the other, (b, a), over the examples that both runs hold."""
    rows = _shared_rows(before, after)
    memberships = [
        _MeasuredParts.of(one, some, parts, as_weights(one.slices.weights)[:, some]).outcomes.memberships
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
    """Give every compared slice the number of what the other run found that is mostly the same."""

    def counterpart(one: ComparedSlice) -> int | None:
        shares = {other.number: float(overlaps[one.number - 1, other.number - 1]) for other in others}
        best = max(shares, key=lambda number: shares[number], default=None)
        return best if best is not None and shares[best] >= _SAME_PLACE else None

    return [replace(one, same_as=counterpart(one)) for one in compared]


def _overall_change(
    before: RunToCompare, after: RunToCompare, paired: bool
) -> tuple[Contrast, Contrast, Difference]:
    """Return the mean over all examples that both runs hold, in each run, and the change."""
    everything = np.arange(len(before.predictions)), np.arange(len(after.predictions))
    rows = _shared_rows(before, after) if paired else everything
    measured = [_MeasuredParts.of(one, which) for one, which in zip((before, after), rows, strict=True)]
    old, new = (one.contrast(one.outcomes.counts, np.zeros(len(one.outcomes.counts))) for one in measured)
    paired_correlation = (
        correlation(measured[0].values, measured[1].values, measured[0].outcomes.counts) if paired else 0.0
    )
    return old, new, difference(old, new, paired_correlation)


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
    """Return the settings that a command line sets, without where the run's folder is."""
    try:
        words = shlex.split(command)
    except ValueError:  # a command that somebody wrote by hand, with a quotation mark too few
        return []
    return [word for word in words if ("=" in word and not word.startswith("hydra.")) or word.startswith("~")]


def _title(slices: Sequence[ComparedSlice], before: RunToCompare, after: RunToCompare) -> str:
    numbers = {status: sum(one.status == status for one in slices) for status in STATUSES}
    persisting = sum(one.status == "persisting" and one.found == "after" for one in slices)
    persisting = max(persisting, numbers["persisting"] - persisting)
    if not slices:
        return "Neither run found a slice"
    unclear = f", {numbers['unclear']} unclear" if numbers["unclear"] else ""
    return f"{numbers['fixed']} fixed, {persisting} persisting, {numbers['new']} new{unclear}"


def _explanation(paired: bool, tested: dict[FoundIn, int], level: float) -> str:
    if paired:
        n = {tested["before"], tested["after"]}
        examples = " and ".join(count(m) for m in sorted(n))
        where = f"on the same {examples} examples in both runs, which the run that found it did not search"
    else:
        where = (
            "in its own run on examples that it was not sought in, and in the other run, which holds other examples, "
            "on all of them"
        )
    return (
        f"Every slice is measured {where}. It is confirmed by a rank test of the losses within labels; of what is "
        f"called confirmed at most {percent(level)} are expected to be chance."
    )


def _sentence(
    found: FoundIn,
    status: Status,
    before: SlicePerformance | None,
    after: SlicePerformance | None,
    change: Difference | None,
    measure: str,
) -> str:
    """Return what is claimed of a slice, with its numbers."""
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
    return f"{sentence}). {_verdict(found, status, before, after, change, measure)}"


def _verdict(
    found: str,
    status: Status,
    before: SlicePerformance,
    after: SlicePerformance,
    change: Difference,
    measure: str,
) -> str:
    match status:
        case "fixed":
            return (
                "It was worse than the others of its labels, and is no longer, or by less than half as much."
            )
        case "new":
            return (
                "It is worse than the others of its labels, and was not before, or by less than half as much."
            )
        case "persisting":
            better = change.sign * (1 if measure == "accuracy" else -1)
            trend = {1: "; it has become better", -1: "; it has become worse", 0: ""}[better]
            return f"It is worse than the others of its labels in both runs{trend}."
    own, other, where = (before, after, "after") if found == "before" else (after, before, "before")
    if own.verdict != "confirmed":
        return "It is not confirmed in the run that found it."
    few = other.verdict == "too_few"
    outcome = "too few examples lie in it" if few else "it is not confirmed, but not shown to be gone"
    return f"It is confirmed in the run that found it; {where}, {outcome}."


def _measure_in_words(measure: str) -> str:
    return "mean loss" if measure == "loss" else measure.upper()
