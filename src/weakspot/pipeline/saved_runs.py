"""Reads earlier runs from their folders: slices, findings, and the predictions that the slices were found in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from weakspot.findings import Findings
from weakspot.findings.record import FILE
from weakspot.findings.runs_to_compare import RunToCompare
from weakspot.pipeline.store_folders import store_key
from weakspot.predictions import Predictions
from weakspot.slices import Slices
from weakspot.tasks import Regression, Task

SLICES = "slices"
"""The folder of a run that holds its slices."""

LEFT_OUT = "left_out"
"""The manifest entry with the number of examples in the file or record that a run left out; absent if it took all."""


@dataclass(frozen=True, eq=False)
class SavedRun:
    """An earlier run of discover.py.

    Attributes:
        folder: The folder, as it was named.
        slices: The slices that it found.
        findings: The run's findings; None if somebody saved the slices on their own.
    """

    folder: Path
    slices: Slices
    findings: Findings | None

    @classmethod
    def open(cls, folder: str | Path) -> SavedRun:
        """Read the run of a folder, or of its folder of slices.

        Raises:
            FileNotFoundError: If there is no such folder, or it holds no slices.
            DamagedError: If they cannot be read.
            ValueError: If its findings describe other slices.
        """
        folder = Path(folder).expanduser()
        candidates = [
            candidate for candidate in (folder / SLICES, folder) if (candidate / "slices.json").is_file()
        ]
        if not candidates:
            what = "does not exist"
            if folder.exists():
                what = "holds no slices" if folder.is_dir() else "is a file, neither .pkl nor a run"
            raise FileNotFoundError(
                f"{folder} {what}: give the folder of a run of discover.py; python browse.py lists them"
            )
        slices = Slices.load(candidates[0])
        run_folder = candidates[0].parent
        # Slices that somebody saved elsewhere in a run's folder are not those that the run found.
        is_of_run = candidates[0].name == SLICES and (run_folder / FILE).is_file()
        findings = Findings.load(run_folder) if is_of_run else None
        if findings is not None:
            check_belong_together(findings, slices, run_folder)
        return cls(folder, slices, findings)

    def predictions(
        self, store: Path, allowed: Callable[[Path], bool] = lambda candidate: True
    ) -> Predictions:
        """Read the predictions that the slices were found in, or carried over to.

        Args:
            store: The store of predictions (`predictions_dir`).
            allowed: Returns whether a file or folder may be read: a run made by somebody else may name any path.

        Raises:
            FileNotFoundError: If they are no longer where they were; the message names that place and what to do.
            ValueError: If that place now holds other examples.
        """
        given = self.given_predictions(store, allowed)
        return subset_of(given, self.rows_in(given))

    def searched_predictions(self, store: Path) -> Predictions | None:
        """Read the examples that were searched for slices; None if they can no longer be read."""
        try:
            return self.predictions(store).take(self.slices.searched_mask)
        except (OSError, ValueError):
            return None

    def given_predictions(
        self, store: Path, allowed: Callable[[Path], bool] = lambda candidate: True
    ) -> Predictions:
        """Read the file or record that the run was given: the examples of the run, and those that it left out.

        Args and errors are those of `predictions`.
        """
        manifest: Mapping[str, Any] = self.slices.provenance.get("predictions") or {}
        candidates = [candidate for candidate in self._candidate_paths(manifest, store) if allowed(candidate)]
        path = next((candidate for candidate in candidates if candidate.exists()), None)
        if path is None:
            location = (
                f"; they were {candidates[0]}" if candidates else ", and it does not say where they were"
            )
            raise FileNotFoundError(
                f"the predictions that {self.folder} was made from are not found{location}. Put them back there, name "
                "the folder that they are in now (predictions_dir=…), or run discover.py on them again"
            )
        task = Task.from_dict(manifest["task"]) if path.is_file() and manifest.get("task") else None
        return Predictions.load(
            path, manifest.get("outputs_are"), task if isinstance(task, Regression) else None
        )

    def rows_in(self, given: Predictions) -> Int[np.ndarray, " n"]:
        """Return the rows of the run's examples among those that it was given.

        Raises:
            ValueError: If these are not the examples that it was given.
        """
        left_out = (self.slices.provenance.get("predictions") or {}).get(LEFT_OUT, 0)
        rows = np.flatnonzero(np.isin(given.ids, self.slices.ids)) if left_out else np.arange(len(given))
        if len(given) - len(rows) != left_out or not np.array_equal(given.ids[rows], self.slices.ids):
            raise ValueError(
                f"{given.manifest['source']} does not hold the examples that {self.folder} was made from; run "
                "discover.py on it again"
            )
        return rows

    def _candidate_paths(self, manifest: Mapping[str, Any], store: Path) -> Iterator[Path]:
        """Yield paths where the predictions may be, relative to the working directory or a folder above the run's."""
        if manifest.get("source"):
            original = Path(str(manifest["source"]))
        elif manifest.get("made_from"):
            names = (str(manifest.get(name)) for name in ("dataset", "split", "model"))
            original = store / store_key(*names, made_from=manifest["made_from"])
        else:
            return
        yield original
        yield store / original.name
        for parent in self.folder.absolute().parents:
            yield parent / original

    def run_to_compare(self, store: Path) -> RunToCompare:
        """Return the run in the form that a comparison takes."""
        return self.run_to_compare_from(self.predictions(store))

    def run_to_compare_from(self, predictions: Predictions) -> RunToCompare:
        """Return the run in the form that a comparison takes, with its predictions, which have been read already."""
        if self.findings is None:
            return RunToCompare(str(self.folder), self.slices, predictions, ())
        return RunToCompare(
            str(self.folder),
            self.slices,
            predictions,
            self.findings.findings,
            self.findings.command,
            [one.name for one in self.findings.slices],
        )


def subset_of(given: Predictions, rows: Int[np.ndarray, " m"]) -> Predictions:
    """Return some of the examples of a file or record; the part's manifest records how many it lacks."""
    if len(rows) == len(given):
        return given
    return replace(given.take(rows), manifest={**given.manifest, LEFT_OUT: len(given) - len(rows)})


def check_belong_together(findings: Findings, slices: Slices, folder: Path) -> None:
    """Check that a run's findings were built from the slices beside them.

    Raises:
        ValueError: If they were not, for example because a folder of slices was copied from another run.
    """
    if not findings.describes(slices):
        raise ValueError(
            f"{folder / FILE} does not describe the slices beside it: it is about {len(findings.slices)} slices of "
            f"{findings.method} in {findings.whole.record} examples, but they are {len(slices)} of {slices.method} in "
            f"{len(slices.ids)}, with other members; put back the run's own files, or run discover.py again"
        )
