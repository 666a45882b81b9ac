"""Runs loaded with their slices, predictions and findings, for the pages that show their examples."""

from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from weakspot.app.cluster_trees import ClusterTree
from weakspot.app.recent import Recent
from weakspot.app.run_files import check_files_inside, is_below_any
from weakspot.app.run_index import RunIndex, RunSummary
from weakspot.findings import Findings
from weakspot.findings.runs_to_compare import RunToCompare
from weakspot.legible import LONGEST_VALUE
from weakspot.pipeline.saved_runs import SavedRun, subset_of
from weakspot.predictions import Predictions
from weakspot.report.member_csv import member_groups
from weakspot.report.points import Points, points_of
from weakspot.slices import Slices

PREDICTIONS_STORE = Path("outputs/predictions")

_MAX_CACHED = 3  # runs in memory; their arrays are mapped from files
_MAX_MAP_CHARACTERS = 1_500_000  # characters of a map's points in a page
_MAX_VALUES = 200  # the most values of an attribute that are offered in a list


@dataclass(frozen=True, eq=False)
class LoadedRun:
    """A run whose files have been read.

    Attributes:
        run: The run's entry in the list.
        slices: The slices that it found.
        predictions: The predictions in which they were found.
        findings: Its findings; None for a run made before findings existed.
        given_rows: (n,) the rows of these predictions in the file or record that the run was given;
            None if they are all of its rows.
    """

    run: RunSummary
    slices: Slices
    predictions: Predictions
    findings: Findings | None
    given_rows: Int[np.ndarray, " n"] | None = None

    def __len__(self) -> int:
        return len(self.predictions)

    @cached_property
    def searched(self) -> Bool[np.ndarray, " n"]:
        """(n,) which examples were searched for slices."""
        return self.slices.searched_mask

    @property
    def has_held_out(self) -> bool:
        """Whether some examples were held out, that is, not searched for slices."""
        return not bool(self.searched.all())

    @property
    def first_shown(self) -> str:
        """Which examples a page shows at first: the searched ones if others are held out, otherwise all."""
        return "searched" if self.has_held_out and self.searched.any() else ""

    @cached_property
    def tree(self) -> ClusterTree | None:
        """The cluster tree of the slices; None if there is none."""
        return None if self.slices.tree is None else ClusterTree(self.slices.tree, self.slices.ids.tolist())

    @cached_property
    def groups(self) -> Mapping[str, tuple[str, Int[np.ndarray, " m"]]]:
        """The name and the rows of every finding and slice, by key (`finding-1`, `slice-2`); the highest membership
        comes first.
        """
        if self.findings is None:
            return {}
        table = self.findings.memberships.drop_null()
        # one piece per group, except in a table that weakspot did not write
        pieces: dict[str, list[Int[np.ndarray, " m"]]] = {}
        for piece in member_groups(table):
            pieces.setdefault(piece.anchor, []).append(np.arange(piece.start, piece.end))
        rows, weights = table["row"].to_numpy(), table["weight"].to_numpy()
        named = [("finding", one.number, one.subject) for one in self.findings.findings]
        named += [("slice", one.number, one.name) for one in self.findings.slices]
        groups = {}
        for kind, number, name in named:
            anchor = f"{kind}-{number}"
            positions = np.concatenate(pieces.get(anchor, [np.arange(0)]))
            positions = positions[weights[positions] > 0]
            group_rows = rows[positions[np.argsort(-weights[positions], kind="stable")]]
            groups[anchor] = name, group_rows[(group_rows >= 0) & (group_rows < len(self))]
        return groups

    @cached_property
    def map_positions(self) -> Float[np.ndarray, "n 2"] | None:
        """(n, 2) the position of each example on the run's map, NaN if it has none; None if there is no map of
        these examples.
        """
        if self.findings is None or not self.findings.map.num_rows:
            return None
        table = self.findings.map
        rows = table["row"].to_numpy()
        if rows.min() < 0 or rows.max() >= len(self) or len(np.unique(rows)) < len(rows):
            return None
        if table["id"].to_pylist() != self.predictions.ids[rows].tolist():
            return None
        map_positions = np.full((len(self), 2), np.nan)
        map_positions[rows] = np.column_stack([table["x"].to_numpy(), table["y"].to_numpy()])
        return map_positions

    def points(self, rows: str) -> Points | None:
        """Return the points of the map that a page draws.

        Args:
            rows: `searched` or `held`, if some examples are held out; "" for all.

        Returns:
            The points; None if there are none.
        """
        if rows not in self._points:
            self._points[rows] = self._build_points(rows)
        return self._points[rows]

    def _build_points(self, rows: str) -> Points | None:
        if self.findings is None or self.map_positions is None:
            return None
        table = self.findings.map
        if rows:
            shown = self.searched[table["row"].to_numpy()] == (rows == "searched")
            table = table.filter(pa.array(shown))
        return points_of(replace(self.findings, map=table), _MAX_MAP_CHARACTERS)

    @cached_property
    def _points(self) -> dict[str, Points | None]:
        return {}

    @cached_property
    def predictions_digest(self) -> str:
        """A digest of the predictions' origin and ids, which distinguishes them from others."""
        manifest = self.predictions.manifest
        origin = json.dumps(
            manifest.get("made_from") or manifest.get("source") or "", sort_keys=True, default=str
        )
        sha = hashlib.sha256(origin.encode())
        for id in self.predictions.ids:
            sha.update(f"\n{id}".encode())
        return sha.hexdigest()[:16]

    def label(self, row: int) -> str | None:
        """Return the label of a row in readable form."""
        return self.predictions.name_of(self.predictions.labels, row)

    def prediction(self, row: int) -> str | None:
        """Return the model's prediction for a row in readable form."""
        return self.predictions.name_of(self.predictions.predictions, row)

    @property
    def to_compare(self) -> RunToCompare:
        """The run in the form that a comparison takes."""
        findings = () if self.findings is None else self.findings.findings
        names = [] if self.findings is None else [one.name for one in self.findings.slices]
        return RunToCompare(
            str(self.run.folder), self.slices, self.predictions, findings, self.run.command, names
        )

    @property
    def attributes(self) -> pa.Table:
        """The attributes of the examples."""
        return self.predictions.attributes

    def attributes_of(self, row: int) -> Mapping[str, Any]:
        """Return the attributes of a row; the value is None if it is unknown."""
        return self.attributes.slice(row, 1).to_pylist()[0] if self.attributes.column_names else {}

    @cached_property
    def attribute_values(self) -> Mapping[str, list[str]]:
        """The values of every attribute with few distinct values, without those too long for a list."""
        found = {}
        for name in self.attributes.column_names:
            distinct = self.attributes[name].unique().drop_null().to_pylist()
            if len(distinct) <= _MAX_VALUES:
                found[name] = sorted(text for text in map(str, distinct) if len(text) <= LONGEST_VALUE)
        return found


class LoadedRuns:
    """Reads runs and caches the last few.

    Args:
        runs: The runs below the folders; predictions are read from the same folders.
        data_folders: Further folders from which predictions may be read.
    """

    def __init__(self, runs: RunIndex, data_folders: Sequence[Path] = ()) -> None:
        self._folders = (*runs.folders, *data_folders)
        self._cached: Recent[tuple[str, float], LoadedRun] = Recent(_MAX_CACHED)

    def load(self, run: RunSummary) -> LoadedRun:
        """Return a run with its files read.

        Raises:
            ValueError: If a file lies outside the folders or cannot be used.
            OSError: If a file is missing or cannot be read.
        """
        return self._cached.get_or_make((run.digest, run.modified.timestamp()), lambda: self._read(run))

    def may_read(self, path: Path) -> bool:
        """Return whether predictions may be read: all of their files must lie in those folders.

        Args:
            path: A folder of shards, or one file; files that differ only in their ending count too, as they may hold
                its arrays.
        """
        beside = path.parent.glob(f"{glob.escape(path.stem)}.*")
        return all(is_below_any(file, self._folders) for file in (path, *path.glob("*"), *beside))

    def _read(self, run: RunSummary) -> LoadedRun:
        check_files_inside(run.folder)
        saved_run = SavedRun.open(run.folder)
        given = self._given_predictions(saved_run)
        rows = saved_run.rows_in(given)
        return LoadedRun(run, saved_run.slices, subset_of(given, rows), saved_run.findings, rows)

    def _given_predictions(self, saved_run: SavedRun) -> Predictions:
        """Return the predictions that a run was given, looked up in the usual store and in each of the folders."""
        for store in (PREDICTIONS_STORE, *self._folders):
            with suppress(FileNotFoundError):
                return saved_run.given_predictions(store, self.may_read)
        manifest = saved_run.slices.provenance.get("predictions") or {}
        if not manifest:
            raise FileNotFoundError(
                f"{saved_run.folder} names no predictions, so its examples cannot be shown; a run of a tree alone "
                "(tree=FILE) has none."
            )
        source = manifest.get("source")
        folders = ", ".join(map(str, self._folders))
        if source:
            raise FileNotFoundError(
                f"The predictions that {saved_run.folder} was made from ({source}) do not lie under {folders}: name "
                f"their folder too (browse.py root={Path(str(source)).parent}, or where they are now)."
            )
        raise FileNotFoundError(
            f"The predictions that {saved_run.folder} was made from do not lie under {folders}: name their folder too "
            "(browse.py folders=[…]), which is the run's predictions_dir if it set one."
        )
