"""The runs of a sweep: which they are, and what each leaves for the table with which the sweep ends."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf

from weakspot.launch.run_folders import run_folder
from weakspot.legible import printable_lines

OVERRIDES = ".hydra/overrides.yaml"
"""The file of a run that holds its words of the command line; Hydra writes it first."""

RESULT = "result.json"
"""The file of a run of a sweep that holds its numbers, where no findings do, or how it ended without any."""

FAILED, STOPPED, INTERRUPTED = "failed", "stopped by fail_if", "interrupted"
"""How a run may end otherwise than well: a key of `RESULT`, whose value is the failure's message, or the signal."""


class SweepRun(NamedTuple):
    """Represents a run of a sweep.

    Attributes:
        name: Its folder below the sweep's; its number where it has not begun.
        words: What was set for it; references in the words are left as they are.
        folder: Its folder; None where it has not begun.
    """

    name: str
    words: Sequence[str]
    folder: Path | None


class Sweep(NamedTuple):
    """Tells a sweep's runs from those that earlier sweeps left in the same folder.

    Attributes:
        folder: Its folder.
        before: The files that lay there when it began, and when each was written, in nanoseconds.
        planned: The words of each of its runs, in order; None where these are not known before they begin.
    """

    folder: Path
    before: Mapping[Path, int]
    planned: Sequence[Sequence[str]] | None = None

    def has_written(self, file: Path) -> bool:
        """Return whether a file is there and was not before, or has been written since."""
        written = _time_written(file)
        return written is not None and self.before.get(file) != written

    def runs(self) -> list[SweepRun]:
        """Return its runs in their order, those that have not begun as well, where these are known."""
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
            SweepRun(str(run.relative_to(self.folder)), _unresolved(OmegaConf.load(run / OVERRIDES)), run)
            for run in folders
        ]


class FailedJob(JobReturn):
    """What a job returned that failed: asked for its value, Hydra's own class prints a line before it raises."""

    @property  # type: ignore[misc]
    def return_value(self) -> Any:
        raise self._return_value


class SweepFolder(Callback):
    """Notes the sweeps that this process launches; Hydra makes one by the configuration's callbacks."""

    noted: ClassVar[list[Sweep]] = []

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        # Another sweep may be writing there, and deleting.
        files = [Path(parent, name) for parent, _, names in os.walk(folder) for name in names]
        times = {file: _time_written(file) for file in files}
        before = {file: time for file, time in times.items() if time is not None}
        SweepFolder.noted.append(Sweep(folder, before, _planned(config)))

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Remove the result that a run of an earlier sweep has left in this run's folder."""
        if config.hydra.mode == RunMode.MULTIRUN:
            Path(config.hydra.runtime.output_dir, RESULT).unlink(missing_ok=True)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Let the sentence of a failure, or its traceback, be all that is said of it."""
        if job_return.status == JobStatus.FAILED:
            job_return.__class__ = FailedJob


def _planned(config: DictConfig) -> list[list[str]] | None:
    """Return the words of each run, as Hydra's own sweeper combines them; None for one that searches, or shuffles."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    sweeper = config.hydra.sweeper
    if not sweeper._target_.endswith(f".{BasicSweeper.__name__}"):
        return None
    words = [f"{key}={values}" for key, values in (sweeper.params or {}).items()]
    words += _unresolved(config.hydra.overrides.task)
    try:
        overrides = OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides(words)
        (runs,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    except HydraException:  # which the sweeper raises again
        return None
    return None if any(getattr(one.value(), "shuffle", False) for one in overrides) else runs


def _unresolved(words: ListConfig | DictConfig) -> list[str]:
    """Return words with the references in them as they are."""
    plain = OmegaConf.to_container(words, resolve=False)
    return [str(word) for word in plain] if isinstance(plain, list) else []


def _time_written(file: Path) -> int | None:
    """Return when a file was written, in nanoseconds; None where there is none."""
    try:
        return file.stat().st_mtime_ns if file.is_file() else None
    except FileNotFoundError:  # deleted in between
        return None


@contextmanager
def summarised(summarise_sweep: Callable[[Sweep], None] | None) -> Iterator[None]:
    """Summarise the sweeps of the block once it has ended, in whatever way."""
    SweepFolder.noted.clear()
    try:
        yield
    finally:
        if summarise_sweep is not None:
            for sweep in SweepFolder.noted:
                summarise_sweep(sweep)


def write_result(folder: Path, result: Mapping[str, float | str | None]) -> None:
    """Write what a run of a sweep measured into its folder, or how it ended; other runs leave no such file."""
    from weakspot.pipeline.processes import is_main_process

    if HydraConfig.get().mode != RunMode.MULTIRUN or not is_main_process():
        return
    from weakspot.predictions.atomic_files import atomic_file, writing

    known = {
        name: value
        for name, value in result.items()
        if isinstance(value, str) or (value is not None and math.isfinite(value))
    }
    with writing(folder, "hydra.sweep.dir"), atomic_file(folder / RESULT) as draft:
        draft.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def write_end(how: str, why: str) -> None:
    """Leave in the folder of a sweep's run how it ended, and why, for the table; say it at once where that is full."""
    try:
        write_result(run_folder(), {how: why})
    except OSError:
        print(printable_lines(f"run {HydraConfig.get().job.num} {how}: {why}"), file=sys.stderr, flush=True)
