"""The folder of a run, which stays once the run has begun."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

CONFIG = "config.yaml"
"""The file that every run's folder holds once the run has begun."""


def run_folder() -> Path:
    """Return the folder of the current run."""
    return Path(HydraConfig.get().runtime.output_dir)


def explain_run_folder(error: OSError, setting: str) -> str:
    """Return the sentence for an error before the job, where the run's folder cannot be made.

    Args:
        error: The system's error.
        setting: The setting that names another folder.
    """
    return (
        f"the run's folder cannot be made ({error.strerror}: {error.filename}); run it in a folder that can be written "
        f"to, or say where: {setting}=…"
    )


def begin(cfg: DictConfig) -> None:
    """Mark the run's folder as one of a run that has begun, so that it stays whatever happens."""
    OmegaConf.save(cfg, run_folder() / CONFIG, resolve=True)


def has_begun() -> bool:
    """Return whether the current run has begun."""
    return (run_folder() / CONFIG).exists()


def remove_empty_run(folder: Path, log_file: str) -> None:
    """Remove what Hydra wrote into the folder of a run that never began, and the folders that are then empty."""
    from weakspot.pipeline.processes import is_main_process

    if (
        not is_main_process()
        or not folder.is_dir()
        or {path.name for path in folder.iterdir()} - {".hydra", log_file}
    ):
        return
    shutil.rmtree(folder / ".hydra", ignore_errors=True)
    (folder / log_file).unlink(missing_ok=True)
    with suppress(OSError):  # the first folder that is not empty ends the loop
        for parent in (folder, *folder.parents):
            if parent == Path.cwd():
                break
            parent.rmdir()
