"""The runs of a sweep: which they are, and what each leaves for the table with which the sweep ends."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from weakspot.launch.run_folders import run_folder

OVERRIDES = ".hydra/overrides.yaml"
"""The file of a run that holds its words of the command line; Hydra writes it first."""

RESULT = "result.json"
"""The file of a run of a sweep that holds its numbers, where no findings do, or how it ended without any."""

FAILED, INTERRUPTED = "failed", "interrupted"
"""How a run may end without a result: a key of `RESULT`, whose value is the failure's sentence, or the signal."""


class Sweep(NamedTuple):
    """Tells a sweep's runs from those that earlier sweeps left in the same folder.

    Attributes:
        folder: Its folder.
        before: The files that lay there when it began, and when each was written, in nanoseconds.
    """

    folder: Path
    before: Mapping[Path, int]

    def has_written(self, file: Path) -> bool:
        """Return whether a file is there and was not before, or has been written since."""
        written = _time_written(file)
        return written is not None and self.before.get(file) != written

    def runs(self) -> list[Path]:
        """Return the folders of its runs, in their order."""
        found = [file.parents[1] for file in self.folder.glob(f"**/{OVERRIDES}") if self.has_written(file)]
        return sorted(found, key=lambda run: (len(run.name), run.name))  # 10 comes after 9


class SweepFolder(Callback):
    """Notes the folders of sweeps that this process launches; Hydra makes one by the configuration's callbacks."""

    noted: ClassVar[list[Sweep]] = []

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        # Another sweep may be writing there, and deleting.
        files = [Path(parent, name) for parent, _, names in os.walk(folder) for name in names]
        times = {file: _time_written(file) for file in files}
        before = {file: time for file, time in times.items() if time is not None}
        SweepFolder.noted.append(Sweep(folder, before))

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Remove the result that a run of an earlier sweep has left in this run's folder."""
        if config.hydra.mode == RunMode.MULTIRUN:
            Path(config.hydra.runtime.output_dir, RESULT).unlink(missing_ok=True)


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
    """Leave in the folder of a sweep's run that it ended without a result: `FAILED` or `INTERRUPTED`, and why."""
    with suppress(OSError):  # the failure itself may be that nothing can be written there
        write_result(run_folder(), {how: why})
