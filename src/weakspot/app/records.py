"""What a run's page shows of its examples: its slices, the predictions they were found in, and who belongs where."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int

from weakspot.app.runs import Run, Runs, check_own, own
from weakspot.app.trees import Tree
from weakspot.findings import Findings
from weakspot.findings.record import FILE
from weakspot.pipeline.runs import Run as Earlier
from weakspot.predictions import Predictions
from weakspot.slices import Slices

STORE = Path("outputs/predictions")

_KEPT = 3  # records in memory; their arrays are mapped
_MOST_VALUES = 200  # of an attribute that is chosen from a list


@dataclass(frozen=True, eq=False)
class Record:
    """A run that has been read.

    Attributes:
        run: It.
        slices: What it found.
        predictions: What that was found in.
        findings: What it said of it; None for a run from before there were findings.
    """

    run: Run
    slices: Slices
    predictions: Predictions
    findings: Findings | None

    def __len__(self) -> int:
        return len(self.predictions)

    @cached_property
    def searched(self) -> Bool[np.ndarray, " n"]:
        """Which examples the slices were sought in."""
        return self.slices.sought_in

    @property
    def splits(self) -> bool:
        """Whether there are examples that no slice was sought in."""
        return not bool(self.searched.all())

    @cached_property
    def tree(self) -> Tree | None:
        return None if self.slices.tree is None else Tree(self.slices.tree, self.slices.ids.tolist())

    @cached_property
    def groups(self) -> Mapping[str, tuple[str, Int[np.ndarray, " m"]]]:
        """Findings and slices: what each is called, and its rows."""
        if self.findings is None:
            return {}
        table = self.findings.memberships
        kinds, numbers = table["group"].to_numpy(zero_copy_only=False), table["number"].to_numpy()
        rows, weights = table["row"].to_numpy(), table["weight"].to_numpy()
        named = [("finding", one.number, one.name) for one in self.findings.findings]
        named += [("slice", one.number, one.name) for one in self.findings.slices]
        groups = {}
        for kind, number, name in named:
            inside = (kinds == kind) & (numbers == number) & (weights > 0)
            found = rows[inside][np.argsort(-weights[inside], kind="stable")]
            groups[f"{kind}-{number}"] = name, found[(found >= 0) & (found < len(self))]
        return groups

    @cached_property
    def labels(self) -> list[str | None]:
        """What is right, as a person reads it."""
        p = self.predictions
        return [p.name_of(p.labels, row) for row in range(len(p))]

    @cached_property
    def said(self) -> list[str | None]:
        """What the model says, as a person reads it."""
        p = self.predictions
        return [p.name_of(p.predictions, row) for row in range(len(p))]

    @property
    def attributes(self) -> pa.Table:
        return self.predictions.attributes

    @cached_property
    def values(self) -> Mapping[str, list[str]]:
        """Of every attribute with few values, these."""
        found = {}
        for name in self.attributes.column_names:
            distinct = self.attributes[name].unique().drop_null().to_pylist()
            if len(distinct) <= _MOST_VALUES:
                found[name] = sorted(map(str, distinct))
        return found


class Records:
    """Runs that have been read, the last few of them.

    Args:
        runs: Those at hand; predictions are read where they lie in the same folders, and nowhere else.
    """

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._kept: OrderedDict[tuple[str, float], Record] = OrderedDict()
        self._lock = Lock()

    def of(self, run: Run) -> Record:
        """A run, read.

        Raises:
            ValueError, OSError: Where it cannot be, or its predictions lie outside the folders.
        """
        key = run.digest, run.created.timestamp()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = self._read(run)
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return self._kept[key]

    def allowed(self, place: Path) -> bool:
        """Whether predictions may be read there: they, and all files of theirs, lie in the folders."""
        return all(self._runs.holds(file) for file in (place, *place.glob("*")))

    def _read(self, run: Run) -> Record:
        check_own(run.folder)
        earlier = Earlier.open(run.folder)
        try:
            predictions = earlier.predictions(STORE, self.allowed)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"The predictions that {run.folder} was made of do not lie under "
                f"{', '.join(map(str, self._runs.folders))}: name their folder too (browse.py folders=[…])."
            ) from error
        findings = Findings.load(run.folder) if own(run.folder, FILE) else None
        return Record(run, earlier.slices, predictions, findings)
