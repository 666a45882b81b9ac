"""Earlier runs, as their folders tell: what they found, what they said of it, and the predictions it was found in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from weakspot.findings import Finding, Findings
from weakspot.findings.compare_slices import RunToCompare
from weakspot.findings.record import FILE
from weakspot.pipeline.keys import key
from weakspot.predictions import Predictions
from weakspot.slices import Slices

SLICES = "slices"
"""The folder of a run that holds its slices."""


@dataclass(frozen=True, eq=False)
class Run:
    """An earlier run of discover.py.

    Attributes:
        folder: As it was named.
        slices: What it found.
        findings: What it said of them; nothing, where a person saved slices by themselves.
    """

    folder: Path
    slices: Slices
    findings: tuple[Finding, ...]

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """The run of a folder, or of its folder of slices.

        Raises:
            FileNotFoundError: Where there is no such folder, or no slices are in it.
            DamagedError: Where they cannot be read.
        """
        folder = Path(folder).expanduser()
        places = [place for place in (folder / SLICES, folder) if (place / "slices.json").is_file()]
        if not places:
            what = "does not exist"
            if folder.exists():
                what = "holds no slices" if folder.is_dir() else "is a file, neither .pkl nor a run"
            raise FileNotFoundError(
                f"{folder} {what}: give the folder of a run of discover.py; python browse.py lists them"
            )
        slices = Slices.load(places[0])
        home = folder if places[0] != folder else folder.parent
        said = (home / FILE).is_file()
        return cls(folder, slices, Findings.load(home).findings if said else ())

    def predictions(self, store: Path, allowed: Callable[[Path], bool] = lambda place: True) -> Predictions:
        """What the slices were found in.

        Args:
            store: The folder of what was inferred (`predictions_dir`).
            allowed: Whether a file or folder may be read: a run that somebody else made may name any.

        Raises:
            FileNotFoundError: Where they are no longer where they were; it says where that is, and what to do.
            ValueError: Where other examples lie there now.
        """
        manifest: Mapping[str, Any] = self.slices.provenance.get("predictions") or {}
        places = [place for place in self._places(manifest, store) if allowed(place)]
        found = next((place for place in places if place.exists()), None)
        if found is None:
            where = f"; they were {places[0]}" if places else ", and it does not say where they were"
            raise FileNotFoundError(
                f"the predictions that {self.folder} was made of are not found{where}. Put them back there, name the "
                "folder that they are in now (predictions_dir=…), or run discover.py on them again"
            )
        p = Predictions.load(found, manifest.get("outputs_are"))
        if not np.array_equal(p.ids, self.slices.ids):
            raise ValueError(
                f"{found} holds other examples than {self.folder} was made of; run discover.py on it again"
            )
        return p

    def _places(self, manifest: Mapping[str, Any], store: Path) -> Iterator[Path]:
        """Where the predictions may lie: as the run named them, seen from here or from a folder above the run's."""
        if manifest.get("source"):
            given = Path(str(manifest["source"]))
        elif manifest.get("made_from"):
            words = (str(manifest.get(name)) for name in ("dataset", "split", "model"))
            given = store / key(*words, made_from=manifest["made_from"])
        else:
            return
        yield given
        yield store / given.name
        for above in self.folder.absolute().parents:
            yield above / given

    def reading(self, store: Path) -> RunToCompare:
        """The run, as a comparison reads it."""
        return RunToCompare(str(self.folder), self.slices, self.predictions(store), self.findings)
