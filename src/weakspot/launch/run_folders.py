"""The folder of a run, which stays once the run has begun."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

CONFIG = "config.yaml"
"""The file that every run's folder holds once the run has begun."""

_begun: object = None  # Hydra's configuration of the last run that has begun; each run has one of its own
_innermost_existing_folder: Path | None = None  # of the run's path; Hydra made those below it


def run_folder() -> Path:
    """Return the folder of the current run."""
    return Path(HydraConfig.get().runtime.output_dir)


def explain_run_folder(error: OSError, setting: str) -> str:
    """Return the sentence for an error before the job: the run's folder cannot be made.

    Args:
        error: The system's error.
        setting: The setting that names another folder.
    """
    reason = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return (
        f"the run's folder cannot be made ({reason}); run it in a folder that can be written to, or say where: "
        f"{setting}=…"
    )


def record_existing_path(folder: Path) -> None:
    """Record how much of the path of a run's or a sweep's folder exists before Hydra makes the rest."""
    global _innermost_existing_folder
    folder = folder.absolute()
    _innermost_existing_folder = next(each for each in (folder, *folder.parents) if os.path.exists(each))


def begin(cfg: DictConfig) -> None:
    """Mark the current run as one that has begun, on every rank, so that its folder is kept whatever happens."""
    global _begun
    from weakspot.pipeline.processes import is_main_process

    _begun = HydraConfig.instance().cfg
    if is_main_process():
        OmegaConf.save(cfg, run_folder() / CONFIG, resolve=True)


def has_begun() -> bool:
    """Return whether the current run has begun; an earlier one may have begun in the same folder."""
    return _begun is not None and _begun is HydraConfig.instance().cfg


def remove_empty_run(folder: Path, log_file: str) -> None:
    """Remove what Hydra wrote into the folder of a run that never began, and the folders that were made for it."""
    from weakspot.pipeline.processes import is_main_process

    if (
        not is_main_process()
        or not folder.is_dir()
        or {path.name for path in folder.iterdir()} - {".hydra", log_file}
    ):
        return
    shutil.rmtree(folder / ".hydra", ignore_errors=True)
    with suppress(OSError):  # the first folder that is not empty ends the loop
        (folder / log_file).unlink(missing_ok=True)
        for each in (folder, *folder.parents):
            if each == _innermost_existing_folder:
                break
            each.rmdir()
