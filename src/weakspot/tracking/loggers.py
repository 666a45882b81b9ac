"""The loggers of the command line, each made for one run's folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

log = logging.getLogger(__name__)

# Lightning is imported where one of its loggers is wanted: it takes seconds.


def no_logger(folder: Path, job: str, config: Mapping[str, Any]) -> None:
    """`logger=none`: the run's folder holds everything anyway."""


def csv_logger(folder: Path, job: str, config: Mapping[str, Any]) -> Logger:
    from pytorch_lightning.loggers import CSVLogger

    logger = CSVLogger(folder, name="csv", version="")
    logger.log_hyperparams(dict(config))
    return logger


def tensorboard_logger(folder: Path, job: str, config: Mapping[str, Any]) -> Logger:
    """Raises ImportError, with the extra to install, where TensorBoard is missing."""
    from pytorch_lightning.loggers import TensorBoardLogger

    try:
        return TensorBoardLogger(folder, name="tensorboard", version="")
    except ModuleNotFoundError as error:
        raise ImportError(
            "logger=tensorboard needs TensorBoard: pip install 'weakspot[tensorboard]'"
        ) from error


def wandb_logger(
    folder: Path,
    job: str,
    config: Mapping[str, Any],
    project: str = "weakspot",
    entity: str | None = None,
    name: str | None = None,
    group: str | None = None,
    tags: Sequence[str] = (),
) -> Logger:
    """A W&B run: offline unless someone is logged in or WANDB_MODE says otherwise; nothing ever asks or waits.

    Everything it writes stays in the run's folder, artifacts' staging included.
    """
    from pytorch_lightning.loggers import WandbLogger

    os.environ.setdefault("WANDB_DATA_DIR", str(folder))
    os.environ.setdefault("WANDB_SILENT", "true")
    logger = WandbLogger(
        save_dir=folder,
        mode=os.environ.get("WANDB_MODE") or ("online" if _logged_in() else "offline"),
        project=project,
        entity=entity,
        name=name,
        group=group,
        job_type=job,
        tags=list(tags),
        config=dict(config),
    )
    getattr(logger, "_wandb_init", {}).pop("anonymous", None)  # Lightning always says it, and W&B warns of it
    return logger


def close(logger: Logger | None) -> None:
    """End the run. W&B is torn down with it: it would keep this run's folders for the next one of a sweep."""
    if logger is None:
        return
    from pytorch_lightning.loggers import WandbLogger

    if isinstance(logger, WandbLogger):
        import wandb

        run = logger.experiment
        offline, files = run.settings._offline, Path(run.settings.sync_dir)
        run.finish()
        wandb.teardown()
        if offline:
            log.info("W&B, offline → %s (`wandb sync` sends it)", files)


def _logged_in() -> bool:
    import wandb

    return bool(wandb.login(prompt=False))
