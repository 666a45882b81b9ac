"""What a run's page shows of its examples: its slices, the predictions they were found in, and who belongs where."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from threading import Lock

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from weakspot.app.runs import Run, Runs, check_own, own
from weakspot.app.trees import Tree
from weakspot.findings import Findings
from weakspot.findings.record import FILE
from weakspot.pipeline.runs import Run as Earlier
from weakspot.predictions import Predictions
from weakspot.report.ids import groups as pieces_of
from weakspot.report.points import Points, points_of
from weakspot.slices import Slices

STORE = Path("outputs/predictions")

_KEPT = 3  # records in memory; their arrays are mapped
_ROOM = 1_500_000  # characters of a map's points in a page
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
        return self.slices.searched_mask

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
        table = self.findings.memberships.drop_null()
        pieces: dict[str, list[Int[np.ndarray, " m"]]] = {}  # one of each, but in a table by somebody else
        for piece in pieces_of(table):
            pieces.setdefault(piece.anchor, []).append(np.arange(piece.start, piece.end))
        rows, weights = table["row"].to_numpy(), table["weight"].to_numpy()
        named = [("finding", one.number, one.name) for one in self.findings.findings]
        named += [("slice", one.number, one.name) for one in self.findings.slices]
        groups = {}
        for kind, number, name in named:
            anchor = f"{kind}-{number}"
            here = np.concatenate(pieces.get(anchor, [np.arange(0)]))
            here = here[weights[here] > 0]
            found = rows[here[np.argsort(-weights[here], kind="stable")]]
            groups[anchor] = name, found[(found >= 0) & (found < len(self))]
        return groups

    @cached_property
    def at(self) -> Float[np.ndarray, "n 2"] | None:
        """Where each example lies on the run's map, NaN where it is not on it; None where there is no map of these."""
        if self.findings is None or not self.findings.map.num_rows:
            return None
        table = self.findings.map
        rows = table["row"].to_numpy()
        if rows.min() < 0 or rows.max() >= len(self) or len(np.unique(rows)) < len(rows):
            return None
        if table["id"].to_pylist() != self.predictions.ids[rows].tolist():
            return None
        at = np.full((len(self), 2), np.nan)
        at[rows] = np.column_stack([table["x"].to_numpy(), table["y"].to_numpy()])
        return at

    def points(self, rows: str) -> Points | None:
        """What a page draws of the map.

        Args:
            rows: searched or held, where some examples are held out; "" for all.

        Returns:
            The points; None where there are none.
        """
        if rows not in self._points:
            self._points[rows] = self._drawn(rows)
        return self._points[rows]

    def _drawn(self, rows: str) -> Points | None:
        if self.findings is None or self.at is None:
            return None
        table = self.findings.map
        if rows:
            shown = self.searched[table["row"].to_numpy()] == (rows == "searched")
            table = table.filter(pa.array(shown))
        return points_of(replace(self.findings, map=table), _ROOM)

    @cached_property
    def _points(self) -> dict[str, Points | None]:
        return {}

    @cached_property
    def key(self) -> str:
        """What tells its predictions from others."""
        manifest = self.predictions.manifest
        told = json.dumps(
            manifest.get("made_from") or manifest.get("source") or "", sort_keys=True, default=str
        )
        sha = hashlib.sha256(told.encode())
        for id in self.predictions.ids:
            sha.update(f"\n{id}".encode())
        return sha.hexdigest()[:16]

    def label(self, row: int) -> str | None:
        """What is right, as a person reads it."""
        return self.predictions.name_of(self.predictions.labels, row)

    def said(self, row: int) -> str | None:
        """What the model says, as a person reads it."""
        return self.predictions.name_of(self.predictions.predictions, row)

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
        predictions = self._predictions(earlier)
        findings = Findings.load(run.folder) if own(run.folder, FILE) else None
        return Record(run, earlier.slices, predictions, findings)

    def _predictions(self, earlier: Earlier) -> Predictions:
        """What a run was made of: in the usual store, or in any of the folders as one of its own."""
        for store in (STORE, *self._runs.folders):
            with suppress(FileNotFoundError):
                return earlier.predictions(store, self.allowed)
        raise FileNotFoundError(
            f"The predictions that {earlier.folder} was made of do not lie under "
            f"{', '.join(map(str, self._runs.folders))}: name their folder too (browse.py folders=[…]), which is "
            "predictions_dir where the run had one of its own."
        )
