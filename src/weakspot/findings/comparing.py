"""Two runs, and what each says of the other's slices: which failures are fixed, which persist, which are new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array

from weakspot.evaluation.confirmation import Evidence, confirm
from weakspot.evaluation.contrasts import Contrast, accuracy_contrast, loss_contrast
from weakspot.evaluation.differences import Difference, correlation, difference, match_label_mix
from weakspot.findings.build import LEVEL
from weakspot.findings.comparison import (
    SCHEMA,
    STATUSES,
    Compared,
    Comparison,
    Found,
    Side,
    Standing,
    Status,
)
from weakspot.findings.contrasts import in_measure
from weakspot.findings.examined import Judged, judge
from weakspot.findings.numbers import count, decimal, percent, signed
from weakspot.findings.record import Finding
from weakspot.findings.units import Examined, fails_more, leading_labels
from weakspot.methods import apply, memberships_of, method_of
from weakspot.predictions import Predictions
from weakspot.slices import Memberships, Slices, Weights, as_weights

FEWEST = 20
"""Examples that the slices of a run must be measured on."""

_REMAINING = 0.5  # of a gap: what is fixed has less of it left, beyond chance
_SAME_PLACE = 0.5  # share of the smaller of two slices that lies in the other


@dataclass(frozen=True, eq=False)
class Reading:
    """A run, as a comparison reads it.

    Attributes:
        run: Its folder, in words.
        slices: What it found, with a weight for each of the predictions.
        predictions: What it found that in.
        findings: What was said of the slices, which are called by it.
    """

    run: str
    slices: Slices
    predictions: Predictions
    findings: Sequence[Finding] = ()


@dataclass(frozen=True)
class _Part:
    """What is compared: a slice, or the part of it that has one label, cut as findings are.

    slice    its position
    labels   codes of the labels that it has; none if it is all of the slice
    """

    slice: int
    labels: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _Measured:
    """The same parts of slices on examples of one run, none of which the slices were sought in."""

    judged: Judged
    there: Examined

    @classmethod
    def of(
        cls,
        reading: Reading,
        rows: Int[np.ndarray, " m"],
        parts: Sequence[_Part] = (),
        weights: Weights | None = None,
    ) -> _Measured:
        """Examples of a run, with the memberships of parts of slices that have these weights there."""
        judged = judge(method_of(reading.slices).audited(reading.predictions.take(rows)), False, False)
        there = judged.examined(np.empty((0, len(rows))))
        if weights is None or not parts:
            return cls(judged, there)
        sliced = judged.examined(weights)
        cut = (sliced.of_part(part.slice, part.labels) for part in parts)
        return cls(judged, judged.examined(Memberships.of_rows(cut, len(rows))))

    @property
    def outcomes(self) -> Float[np.ndarray, " m"]:
        """What every example adds to the measure."""
        if self.judged.unit_errors is not None:
            return self.judged.unit_errors
        return self.there.losses if self.there.correct is None else self.there.correct.astype(np.float64)

    @property
    def measure(self) -> str:
        if self.judged.unit_errors is not None and self.judged.p.task is not None:
            return self.judged.p.task.measure
        return "loss" if self.there.correct is None else "accuracy"

    def contrast(
        self,
        inside: Float[np.ndarray, " m"],
        outside: Float[np.ndarray, " m"],
        codes: Int[np.ndarray, " m"] | None = None,
    ) -> Contrast:
        """Means of the measure, in its own units."""
        if self.measure == "accuracy" and self.there.correct is not None:
            return accuracy_contrast(self.there.correct, inside, outside, codes)
        of_one = loss_contrast(self.outcomes, inside, outside, codes)
        task = self.judged.p.task
        return of_one if self.judged.unit_errors is None or task is None else in_measure(of_one, task)

    def evidence(self, level: float, seed: int) -> list[Evidence]:
        there = self.there
        if not len(there.memberships):
            return []
        return confirm(
            there.memberships,
            there.losses,
            there.correct,
            there.strata,
            there.counts,
            level=level,
            seed=seed,
        )

    def standing(self, j: int, evidence: Evidence) -> Standing | None:
        weights, counts, codes = self.there.memberships[j], self.there.counts, self.there.strata
        inside, outside = counts * weights, counts * (1 - weights)
        if inside.sum() <= 0:
            return None
        found = self.contrast(inside, outside, codes)
        alike, gap = match_label_mix(inside, outside, codes), None
        if alike.sum() > 0:
            others = self.contrast(alike, np.zeros_like(alike))
            pair = (found, others) if self.measure == "accuracy" else (others, found)
            gap = difference(*pair)
        return Standing(evidence.verdict, evidence.p_corrected, float(inside.sum()), found, gap)


def compare(
    before: Reading,
    after: Reading,
    *,
    command: str = "",
    created: datetime | None = None,
    level: float = LEVEL,
    seed: int = 0,
) -> Comparison:
    """What is fixed, persists and is new between two runs.

    Every slice is measured in both runs, on examples that it was not sought in. Where the runs hold the same examples,
    these are the same examples (by id), whatever the embeddings: an example belongs to a slice as the run that found
    it says, and the difference is one of paired outcomes. Where they hold other examples of the same model, the slice
    is applied to the other run's embeddings.

    Args:
        before: The earlier run, or the baseline.
        after: The later run.
        command: The line that was typed.
        created: Now, unless given.
        level: False discovery rate, of each run's slices in each run.
        seed: Of permutations.

    Returns:
        The comparison.

    Raises:
        ValueError: If the two cannot be compared, with the reason.
    """
    paired, notes = check_comparable(before, after)
    tested: dict[Found, int] = {}
    compared: dict[Found, list[Compared]] = {}
    parts: dict[Found, list[_Part]] = {}
    measure = ""
    sides: tuple[tuple[Found, Reading, Reading], ...] = (("before", before, after), ("after", after, before))
    for found, own, other in sides:
        parts[found] = _parts(own)
        here, there = _measured(own, other, parts[found], paired)
        tested[found], measure = len(here.there.losses), here.measure
        compared[found] = _compared(found, own, parts[found], here, there, paired, level, seed)
    if paired:
        overlaps = _overlaps(before, after, parts["before"], parts["after"])
        old, new = compared["before"], compared["after"]
        compared = {"before": _with_twins(old, new, overlaps), "after": _with_twins(new, old, overlaps.T)}
    slices = [*compared["before"], *compared["after"]]
    whole = _whole(before, after, paired)
    return Comparison(
        schema=SCHEMA,
        title=_title(slices, before, after),
        measure=measure,
        before=_side(before, whole[0]),
        after=_side(after, whole[1]),
        paired=paired,
        tested=tested,
        change=whole[2],
        slices=tuple(slices),
        explanation=_explanation(paired, tested, level),
        notes=tuple(notes),
        level=level,
        command=command,
        created=(created or datetime.now().astimezone()).isoformat(timespec="seconds"),
    )


def check_comparable(before: Reading, after: Reading) -> tuple[bool, list[str]]:
    """Whether both runs hold the same examples, and words of caution.

    Raises ValueError, with the reason and what to do, where they cannot be compared.
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
    mine, theirs = _shared(before, after)
    if not len(mine):
        return False, _same_space(before, after)
    if old.labels is not None and new.labels is not None:
        different = (old.labels[mine] != new.labels[theirs]).reshape(len(mine), -1).any(axis=1)
        if different.any():
            raise ValueError(
                f"{int(different.sum())} of the {len(mine)} examples that {before.run} and {after.run} share by id "
                "have other labels, so the ids do not name the same examples; give every example an id of its own"
            )
    for one, rows in ((before, mine), (after, theirs)):
        left = int((~one.slices.searched_mask[rows]).sum())
        if left < FEWEST and len(one.slices):
            raise ValueError(
                f"{one.run} searched all but {left} of the {len(mine)} examples that the two runs share, and slices "
                f"are compared on at least {FEWEST} that they were not sought in: run it with confirm=0.5"
            )
    return True, []


def _same_space(before: Reading, after: Reading) -> list[str]:
    """A word of caution where nobody knows whether two runs without an example in common are of one model."""
    weights = [(one.predictions.manifest.get("made_from") or {}).get("weights") for one in (before, after)]
    if None not in weights and weights[0] != weights[1]:
        raise ValueError(
            f"{before.run} and {after.run} have no example in common and are of different weights, so a slice of one "
            "says nothing of the other: run both models on the same split"
        )
    for one, other in ((before, after), (after, before)):
        left = int((~one.slices.searched_mask).sum())
        if left < FEWEST and len(one.slices):
            raise ValueError(
                f"{one.run} searched all but {left} of its examples, and slices are compared on at least {FEWEST} that "
                "they were not sought in: run it with confirm=0.5"
            )
        if len(one.slices):
            apply(one.slices, other.predictions.take([0]))
    if None in weights:
        return ["The two runs have no example in common; they are taken to be of one model."]
    return []


def _task(p: Predictions) -> str:
    return "none" if p.task is None else " ".join([p.task.kind, ", ".join(p.task.classes[:6])]).strip()


def _parts(own: Reading) -> list[_Part]:
    """The slices of a run, cut by label as its findings are: by what was searched, where that is at hand."""
    searched = own.slices.searched_mask
    rows = np.flatnonzero(searched) if searched.any() else np.arange(len(searched))
    examined = _Measured.of(own, rows)
    found = []
    for j, weights in enumerate(as_weights(own.slices.weights)[:, rows]):
        labels = leading_labels(examined.there, weights) if examined.judged.by_label else ()
        found += [_Part(j, (label,)) for label in labels] or [_Part(j, ())]
    return found


def _measured(
    own: Reading, other: Reading, parts: Sequence[_Part], paired: bool
) -> tuple[_Measured, _Measured]:
    """The slices of `own` in its own predictions, and in those of the other run: row for row the same if paired."""
    free = ~own.slices.searched_mask
    weights = as_weights(own.slices.weights)
    if paired:
        mine, theirs = _shared(own, other)
        mine, theirs = mine[free[mine]], theirs[free[mine]]
        return (
            _Measured.of(own, mine, parts, weights[:, mine]),
            _Measured.of(other, theirs, parts, weights[:, mine]),
        )
    mine, theirs = np.flatnonzero(free), np.arange(len(other.predictions))
    carried = memberships_of(own.slices, other.predictions) if parts else None
    return _Measured.of(own, mine, parts, weights[:, mine]), _Measured.of(other, theirs, parts, carried)


def _shared(one: Reading, other: Reading) -> tuple[Int[np.ndarray, " s"], Int[np.ndarray, " s"]]:
    """The rows of the examples that both hold, by id."""
    _, mine, theirs = np.intersect1d(one.predictions.ids, other.predictions.ids, return_indices=True)
    return mine, theirs


def _compared(
    found: Found,
    own: Reading,
    parts: Sequence[_Part],
    here: _Measured,
    there: _Measured,
    paired: bool,
    level: float,
    seed: int,
) -> list[Compared]:
    result = []
    evidence = zip(parts, here.evidence(level, seed), there.evidence(level, seed), strict=True)
    for i, (part, mine, theirs) in enumerate(evidence):
        if fails_more(here.there, here.there.memberships[i]) is False:
            continue  # no worse than the rest: no failure, for the report of its run either
        standings = here.standing(i, mine), there.standing(i, theirs)
        before, after = standings if found == "before" else standings[::-1]
        change = None
        if before is not None and after is not None:
            weights = here.there.counts * here.there.memberships[i]
            together = correlation(here.outcomes, there.outcomes, weights) if paired else 0.0
            change = difference(before.inside, after.inside, together)
        status = status_of(found, *standings, change, here.measure)
        label = own.predictions.classes()[part.labels[0]] if part.labels else None
        result.append(
            Compared(
                found=found,
                number=i + 1,
                slice=part.slice + 1,
                label=label,
                name=_name(own, part.slice + 1, label),
                status=status,
                sentence=_sentence(found, status, before, after, change, here.measure),
                before=before,
                after=after,
                change=change,
                same_as=None,
            )
        )
    return result


def _name(own: Reading, number: int, label: str | None) -> str:
    """The slice's own name, with that of the finding that it is part of."""
    name = f"{method_of(own.slices).noun} {number}" + ("" if label is None else f", label = {label}")
    homes = (one for one in own.findings if number in one.parts and (not one.labels or label in one.labels))
    home = next(homes, None)
    return name if home is None or home.name.startswith(name) else f"{name} ({home.name})"


def status_of(
    found: Found,
    own: Standing | None,
    other: Standing | None,
    change: Difference | None,
    measure: str,
) -> Status:
    """What has become of a slice that one of two runs found.

    It must be confirmed in its own run. It persists where it is confirmed in the other run, too. It is fixed (or new)
    where it is not, where the change is beyond chance, and where less than half of the gap to others of the same
    labels is left in the other run, beyond chance, too. Everything else is unclear: that something is not confirmed
    does not show that it is gone.

    Args:
        found: Which run found it.
        own, other: How it does there, and in the other run.
        change: After less before.
        measure: accuracy, of which more is better, or another, of which less is.
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
    before: Reading, after: Reading, old: Sequence[_Part], new: Sequence[_Part]
) -> Float[np.ndarray, "b a"]:
    """How much of the smaller of two parts lies in the other, over the examples that both runs hold."""
    rows = _shared(before, after)
    masses = [
        _Measured.of(one, some, parts, as_weights(one.slices.weights)[:, some]).there.memberships
        for one, some, parts in zip((before, after), rows, (old, new), strict=True)
    ]
    mine, theirs = ([csr_array(one[None]) for one in some] for some in masses)
    shared = np.array([[one.minimum(other).sum() for other in theirs] for one in mine]).reshape(
        len(old), len(new)
    )
    sizes = [np.array([one.sum() for one in some]) for some in (mine, theirs)]
    found: np.ndarray = shared / np.maximum(np.minimum(sizes[0][:, None], sizes[1]), 1e-300)
    return found


def _with_twins(
    compared: Sequence[Compared], others: Sequence[Compared], overlaps: Float[np.ndarray, "m o"]
) -> list[Compared]:
    """What was compared, with what of the other run is mostly the same."""

    def twin(one: Compared) -> int | None:
        shares = {other.number: float(overlaps[one.number - 1, other.number - 1]) for other in others}
        best = max(shares, key=lambda number: shares[number], default=None)
        return best if best is not None and shares[best] >= _SAME_PLACE else None

    return [replace(one, same_as=twin(one)) for one in compared]


def _whole(before: Reading, after: Reading, paired: bool) -> tuple[Contrast, Contrast, Difference]:
    """The mean of all examples that both hold, in each run, and the change."""
    everything = np.arange(len(before.predictions)), np.arange(len(after.predictions))
    rows = _shared(before, after) if paired else everything
    sides = [_Measured.of(one, which) for one, which in zip((before, after), rows, strict=True)]
    old, new = (side.contrast(side.there.counts, np.zeros(len(side.there.counts))) for side in sides)
    together = correlation(sides[0].outcomes, sides[1].outcomes, sides[0].there.counts) if paired else 0.0
    return old, new, difference(old, new, together)


def _side(reading: Reading, measured: Contrast) -> Side:
    manifest = reading.predictions.manifest
    words = {name: str(manifest.get(name) or "") for name in ("dataset", "model", "split")}
    return Side(
        run=reading.run,
        method=reading.slices.method,
        slices=len(reading.slices),
        examples=len(reading.predictions),
        measured=measured,
        **words,
    )


def _title(slices: Sequence[Compared], before: Reading, after: Reading) -> str:
    numbers = {status: sum(one.status == status for one in slices) for status in STATUSES}
    persisting = sum(one.status == "persisting" and one.found == "after" for one in slices)
    persisting = max(persisting, numbers["persisting"] - persisting)
    if not slices:
        return "Neither run found a slice"
    return f"{numbers['fixed']} fixed, {persisting} persisting, {numbers['new']} new"


def _explanation(paired: bool, tested: dict[Found, int], level: float) -> str:
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
    found: Found,
    status: Status,
    before: Standing | None,
    after: Standing | None,
    change: Difference | None,
    measure: str,
) -> str:
    """What is claimed of a slice, with its numbers."""
    if before is None or after is None or change is None:
        return "None of the examples that can be measured lies in it."
    show = percent if measure == "accuracy" else decimal
    words, on = (
        ("the model was right on", "on ") if measure == "accuracy" else (f"the {_word(measure)} was", "")
    )
    said = f"Before, {words} {show(before.inside.inside)}, and after {on}{show(after.inside.inside)}"
    share = measure == "accuracy"
    said += f" ({signed(change.value, share)}{' points' if share else ''}"
    if change.interval is not None:
        low, high = (signed(bound, share) for bound in change.interval)
        said += f"; 95\u202f% interval {low} to {high}"
    return f"{said}). {_verdict(found, status, before, after, change, measure)}"


def _verdict(
    found: str, status: Status, before: Standing, after: Standing, change: Difference, measure: str
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
    there = "too few examples lie in it" if few else "it is not confirmed, but not shown to be gone"
    return f"It is confirmed in the run that found it; {where}, {there}."


def _word(measure: str) -> str:
    return "mean loss" if measure == "loss" else measure.upper()
