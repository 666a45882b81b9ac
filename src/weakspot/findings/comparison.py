"""The record of a comparison of two runs, and its file: which slices are fixed, persisting, new or unclear."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from weakspot.evaluation.confirmation import Verdict
from weakspot.evaluation.contrasts import Contrast
from weakspot.evaluation.differences import Difference
from weakspot.findings.typed_json import read_typed
from weakspot.predictions.atomic_files import atomic_file, writing

SCHEMA = 1
FILE = "compare.json"
PAGE = "compare.html"

FoundIn = Literal["before", "after"]
"""Which of the two runs found a slice."""

Status = Literal["fixed", "persisting", "new", "unclear"]

STATUSES: tuple[Status, ...] = ("new", "persisting", "fixed", "unclear")
"""All of them, in the order in which they are shown."""


@dataclass(frozen=True)
class ComparedRun:
    """Summarises one of the two runs.

    Attributes:
        run: Its folder.
        method, dataset, model, split: What it was run with.
        slices: How many slices it found.
        examples: How many examples its predictions hold.
        measured: The mean of the measure over the examples that both runs hold, or over its own examples if they share
            none.
        differs_by: The settings on its command line that are not on the other run's.
    """

    run: str
    method: str
    dataset: str
    model: str
    split: str
    slices: int
    examples: int
    measured: Contrast
    differs_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class SlicePerformance:
    """Holds how the model of one run does on a slice, on examples that were not searched for it.

    Attributes:
        verdict: Whether the slice is worse than the rest in this run.
        p_corrected: The corrected p-value of the rank test within labels; None if it could not be tested.
        examples: How many examples lie in it (the sum of weights).
        inside: The mean inside the slice, with its interval, and the mean outside.
        gap: By how much it is worse than the other examples of the same labels, positive if it is worse; None if there
            are no others.
    """

    verdict: Verdict
    p_corrected: float | None
    examples: float
    inside: Contrast
    gap: Difference | None


@dataclass(frozen=True)
class ComparedSlice:
    """A slice of one run, or the part of it that has one label, measured in both.

    Attributes:
        found: Which run found it.
        number: Its number among the slices and parts that this run found.
        slice: The number of the slice in that run.
        label: The label of the part; None for the whole slice.
        name: Its name.
        status: fixed, persisting, new or unclear.
        sentence: What is claimed about it.
        before, after: How the two models do on it; None if no measured example lies in it.
        change: The measure after minus the measure before.
        same_as: The number of the other run's slice that overlaps it most, if they share at least half of the smaller
            one.
    """

    found: FoundIn
    number: int
    slice: int
    label: str | None
    name: str
    status: Status
    sentence: str
    before: SlicePerformance | None
    after: SlicePerformance | None
    change: Difference | None
    same_as: int | None


@dataclass(frozen=True)
class Comparison:
    """Holds the comparison of two runs; `weakspot.findings.compare_slices.compare_slices` makes it.

    Attributes:
        schema: Version of `compare.json`.
        title: The headline.
        measure: What the slices are measured in: accuracy, loss, rmse or mae.
        before, after: The two runs.
        paired: Whether both are measured on the same examples.
        tested: How many examples the slices of each run are measured on; that run searched none of them.
        change: The mean of the measure over all measured examples, after minus before.
        slices: Those of the run before, then those of the run after, each in its method's order.
        explanation: How the slices were tested.
        notes: Words of caution.
        level: The false discovery rate.
        command, created: The command line that made it, and when.
    """

    schema: int
    title: str
    measure: str
    before: ComparedRun
    after: ComparedRun
    paired: bool
    tested: dict[FoundIn, int]
    change: Difference
    slices: tuple[ComparedSlice, ...]
    explanation: str
    notes: tuple[str, ...]
    level: float
    command: str
    created: str

    def of(self, status: Status) -> list[ComparedSlice]:
        """Return the slices of a status, in order."""
        return [one for one in self.slices if one.status == status]

    @property
    def higher_is_better(self) -> bool:
        """Whether more of the measure is better."""
        return self.measure == "accuracy"

    def save(self, folder: str | Path) -> Path:
        """Write `compare.json` into `folder`; it appears whole or not at all.

        Raises:
            OSError: If the file cannot be written; the message says what to do.
        """
        folder = Path(folder)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_file(folder / FILE) as draft:
                draft.write_bytes(_ADAPTER.dump_json(self, indent=1) + b"\n")
        return folder / FILE

    @classmethod
    def load(cls, folder: str | Path) -> Comparison:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: If the folder holds no comparison.
            DamagedError: If it cannot be read; it names the file.
            ValueError: If it has a schema that this version does not read.
        """
        file = Path(folder) / FILE
        if not file.is_file():
            raise FileNotFoundError(f"{folder} holds no {FILE}; discover.py compare=[RUN,RUN] writes one")
        return read_typed(file, _ADAPTER, SCHEMA)[0]


_ADAPTER = TypeAdapter(Comparison)
