"""The sweeps that a command launches, and which runs each has."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf

OVERRIDES = ".hydra/overrides.yaml"
"""The file of a run that holds its words of the command line; Hydra writes it first."""


class SweepRun(NamedTuple):
    """Represents a run of a sweep.

    Attributes:
        name: Its folder below the sweep's; its number if it has not begun.
        words: Its settings, with unresolved interpolations.
        folder: Its folder; None if it has not begun.
    """

    name: str
    words: Sequence[str]
    folder: Path | None


class Sweep(NamedTuple):
    """Distinguishes a sweep's runs from those that earlier sweeps left in the same folder.

    Attributes:
        folder: Its folder.
        before: The files that were there when it began, and when each was written, in nanoseconds.
        planned: The settings of each of its runs, in order; None if these are not known before they begin.
    """

    folder: Path
    before: Mapping[Path, int]
    planned: Sequence[Sequence[str]] | None = None

    def has_written(self, file: Path) -> bool:
        """Return whether a file is there and was not before, or has been written since."""
        written = _time_written(file)
        return written is not None and self.before.get(file) != written

    def has_begun(self) -> bool:
        """Return whether any of its runs has begun, judging by its folder: Hydra can be set to write nothing."""
        return bool(self._begun())

    def runs(self) -> list[SweepRun]:
        """Return its runs in order, including those that have not begun, if these are known."""
        begun = self._begun()
        runs = []
        for number, words in enumerate(self.planned or ()):
            found = next((run for run in begun if run.words == words), None)
            if found is not None:
                begun.remove(found)
            runs.append(found or SweepRun(str(number), words, None))
        return [*runs, *begun]

    def _begun(self) -> list[SweepRun]:
        """Return the runs that have a folder."""
        files = [file for file in self.folder.glob(f"**/{OVERRIDES}") if self.has_written(file)]
        folders = sorted((file.parents[1] for file in files), key=lambda run: (len(run.name), run.name))
        return [
            SweepRun(
                str(run.relative_to(self.folder)), unresolved_words(OmegaConf.load(run / OVERRIDES)), run
            )
            for run in folders
        ]


launched_sweeps: list[Sweep] = []
"""The sweeps that the current command has launched."""


@contextmanager
def summarising_sweeps(summarise_sweep: Callable[[Sweep], None] | None) -> Iterator[None]:
    """Summarise the sweeps of the block once it has ended, in whatever way."""
    launched_sweeps.clear()
    try:
        yield
    finally:
        if summarise_sweep is not None:
            for sweep in launched_sweeps:
                summarise_sweep(sweep)


def sweep_to_launch(config: DictConfig) -> Sweep:
    """Return the sweep of a configuration, before any of its runs has begun."""
    folder = Path(config.hydra.sweep.dir)
    # Another sweep may be writing and deleting files there.
    files = [Path(parent, name) for parent, _, names in os.walk(folder) for name in names]
    times = {file: _time_written(file) for file in files}
    before = {file: time for file, time in times.items() if time is not None}
    return Sweep(folder, before, _planned(config))


def _planned(config: DictConfig) -> list[list[str]] | None:
    """Return the words of each run, as Hydra's own sweeper combines them; None for one that searches or shuffles."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    sweeper = config.hydra.sweeper
    if not sweeper._target_.endswith(f".{BasicSweeper.__name__}"):
        return None
    words = [f"{key}={values}" for key, values in (sweeper.params or {}).items()]
    words += unresolved_words(config.hydra.overrides.task)
    try:
        overrides = OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides(words)
        (runs,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    except HydraException:  # which the sweeper raises again
        return None
    return None if any(getattr(one.value(), "shuffle", False) for one in overrides) else runs


def unresolved_words(words: ListConfig | DictConfig) -> list[str]:
    """Return words with their interpolations unresolved."""
    plain = OmegaConf.to_container(words, resolve=False)
    return [str(word) for word in plain] if isinstance(plain, list) else []


def _time_written(file: Path) -> int | None:
    """Return when a file was written, in nanoseconds; None if there is none."""
    try:
        return file.stat().st_mtime_ns if file.is_file() else None
    except FileNotFoundError:  # deleted in between
        return None
