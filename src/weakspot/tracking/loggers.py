"""The loggers of the command line, each made for one run's folder."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

log = logging.getLogger(__name__)

_SECONDS_TO_LOG_IN = "5"
_WITHOUT_NETWORK = ("offline", "dryrun", "disabled")  # W&B's modes

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
    """A W&B run: offline unless someone is logged in or WANDB_MODE says otherwise; nothing asks, or waits long.

    Everything it writes stays in the run's folder, artifacts' staging included.

    Raises ValueError for settings, and environment variables, that W&B does not take, or if it opens no run.
    """
    import wandb
    from pytorch_lightning.loggers import WandbLogger

    os.environ.setdefault("WANDB_DATA_DIR", str(folder))
    os.environ.setdefault("WANDB_SILENT", "true")
    _check(project=project, entity=entity, run_name=name, run_group=group, run_tags=tuple(tags))
    logger = WandbLogger(
        save_dir=folder,
        mode=_mode(),
        project=project,
        entity=entity,
        name=name,
        group=group,
        job_type=job,
        tags=list(tags),
        config=dict(config),
    )
    getattr(logger, "_wandb_init", {}).pop("anonymous", None)  # Lightning always says it, and W&B warns of it
    try:
        _ = logger.experiment  # opens the run: now, not when training first has something to log
    except wandb.Error as error:
        wandb.teardown()
        shutil.rmtree(folder / "wandb", ignore_errors=True)
        raise ValueError(
            f"W&B opens no run ({' '.join(str(error).split())}); mend that, or choose WANDB_MODE=offline or logger=none"
        ) from error
    return logger


def close(logger: Logger | None, code: int = 0) -> None:
    """End the run. W&B is torn down with it: it would keep this run's folders for the next one of a sweep.

    Args:
        logger: The run's, or none.
        code: Of the job; W&B shows a run of another than 0 as failed.
    """
    if logger is None:
        return
    from pytorch_lightning.loggers import WandbLogger

    if isinstance(logger, WandbLogger):
        import wandb

        run = logger.experiment
        offline, files = run.settings._offline, Path(run.settings.sync_dir)
        run.finish(exit_code=code)
        wandb.teardown()
        if offline:
            log.info("W&B, offline → %s (`wandb sync` sends it)", files)


def _check(**settings: Any) -> None:
    """Have W&B judge its environment variables, and the settings of the command line."""
    import wandb
    from pydantic import ValidationError

    try:
        wandb.setup()
        wandb.Settings(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        where = f"logger.{name.removeprefix('run_')}" if name in settings else f"WANDB_{name.upper()}"
        raise ValueError(
            f"{where}={first['input']} is not for W&B: {first['msg'].removeprefix('Value error, ')}"
        ) from None
    except wandb.errors.UsageError as error:
        hint = "; a team is given as logger.entity" if "/" in str(settings["project"]) else ""
        raise ValueError(f"{error}{hint}") from None


def _mode() -> str:
    """What WANDB_MODE says, or else online where someone is logged in; offline where W&B lets nobody in."""
    import wandb

    asked = os.environ.get("WANDB_MODE")
    if asked in _WITHOUT_NETWORK:
        return asked
    try:
        logged_in = _log_in()
    except wandb.errors.AuthenticationError as error:
        reason = str(error).rstrip(".")
        if "did not respond in time" in reason:
            reason = f"{wandb.setup().settings.base_url} does not answer"
        log.warning("W&B: %s; this run is logged offline, and `wandb sync` sends it later", reason)
        return "offline"
    if asked and not logged_in:
        raise ValueError(f"WANDB_MODE={asked}, but nobody is logged in: run `wandb login`, or leave it out")
    return asked or ("online" if logged_in else "offline")


def _log_in() -> bool:
    """Whether someone is logged in; raises AuthenticationError if the server refuses, or does not answer soon."""
    import wandb

    patience = os.environ.get("WANDB_HTTP_TIMEOUT")
    os.environ["WANDB_HTTP_TIMEOUT"] = patience or _SECONDS_TO_LOG_IN
    try:
        return bool(wandb.login(prompt=False))
    finally:
        if patience is None:
            del os.environ["WANDB_HTTP_TIMEOUT"]
