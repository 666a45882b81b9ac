"""Runs that Weights & Biases logged offline, found by the names of their folders."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

_FOLDER_NAME = re.compile(r"offline-run-(\d{8}_\d{6})-(\w+)")


@dataclass(frozen=True)
class OfflineRun:
    """A run that was logged offline.

    Attributes:
        folder: Its own folder, `…/wandb/offline-run-…`.
        started: When it started, according to the folder's name.
        id: Its id in W&B.
        size: The size of its log in bytes.
    """

    folder: Path
    started: datetime
    id: str
    size: int

    @property
    def home(self) -> Path:
        """The folder of the weakspot run that was logged."""
        return self.folder.parent.parent

    @property
    def sync(self) -> str:
        """The command that sends it to W&B's server."""
        return shlex.join(["wandb", "sync", str(self.folder)])


def find_offline_runs(folders: Sequence[Path]) -> list[OfflineRun]:
    """Return the runs that were logged offline below these folders, newest first."""
    logs = {
        log.absolute(): log for folder in folders for log in folder.glob("**/wandb/offline-run-*/*.wandb")
    }
    runs = (_read(log) for log in logs.values())
    return sorted((run for run in runs if run is not None), key=lambda run: run.started, reverse=True)


def _read(log: Path) -> OfflineRun | None:
    named = _FOLDER_NAME.fullmatch(log.parent.name)
    try:
        if named is None or log.name != f"run-{named[2]}.wandb":
            return None
        return OfflineRun(
            log.parent, datetime.strptime(named[1], "%Y%m%d_%H%M%S"), named[2], log.lstat().st_size
        )
    except (ValueError, OSError):
        return None
