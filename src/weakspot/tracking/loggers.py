"""The loggers of the command line, each made for one run's folder.

They are not Lightning's, which take seconds to import, while most runs train nothing. A training run passes its logger
to Lightning through `weakspot.tracking.lightning_logger`.
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from weakspot.delimited import csv_text
from weakspot.predictions.atomic_files import atomic_file
from weakspot.tracking.run_names import MULTIRUN, run_name
from weakspot.tracking.run_tags import run_tags

log = logging.getLogger(__name__)

_SECONDS_TO_LOG_IN = "5"
WITHOUT_NETWORK = ("offline", "dryrun", "disabled")  # W&B's modes
_STEP = "trainer/global_step"  # the x-axis of W&B's curves, as with Lightning's own logger
_STAGING = "WANDB_DATA_DIR"  # where W&B prepares artifacts; by default a folder in the user's home
_LONGEST_GROUP = 128  # characters of a group's name that W&B accepts
_ROWS_AT_ONCE = 100  # of metrics.csv that are written together; a killed run loses no more

# A logger's library is imported only when the logger is made, because each takes a second to import.


class RunLogger(Protocol):
    """The interface of a run's logger: one of this module's, or any of Lightning's."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log numbers by name."""

    def finalize(self, status: str) -> None:
        """Write all that was logged to the disk; more may follow."""


class CsvLogger:
    """Writes `metrics.csv`, with a row for the numbers that are logged together; its other columns are empty."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "metrics.csv"
        self._rows: list[dict[str, float]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self._rows.append({**metrics, "step": len(self._rows) if step is None else step})
        if len(self._rows) % _ROWS_AT_ONCE == 0:
            self._write()

    def finalize(self, status: str) -> None:
        if self._rows:
            self._write()

    def _write(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        names = sorted(set().union(*self._rows))
        text = csv_text(names, ([row.get(name, "") for name in names] for row in self._rows))
        with atomic_file(self.file) as draft:
            draft.write_text(text, encoding="utf-8", newline="")


class TensorBoardLogger:
    """Writes TensorBoard's event files with torch's writer, `experiment`."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.experiment = SummaryWriter(str(folder))

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        for name, value in metrics.items():
            self.experiment.add_scalar(name, value, step)

    def finalize(self, status: str) -> None:
        self.experiment.flush()


class WandbLogger:
    """Logs to a run of W&B, `experiment`.

    Args:
        run: The run of W&B.
        upload: Whether checkpoints and predictions are uploaded, not only their paths.
    """

    def __init__(self, run: Any, upload: bool = False) -> None:
        self.experiment = run
        self.upload = upload
        self._artifacts: set[tuple[str, Path]] = set()
        run.define_metric(_STEP)
        run.define_metric("*", step_metric=_STEP, step_sync=True)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.experiment.log(metrics if step is None else {**metrics, _STEP: step})

    def register_artifact(self, kind: str, path: Path) -> bool:
        """Remember an artifact that the run reads or makes, and return whether it is new."""
        known = len(self._artifacts)
        self._artifacts.add((kind, path.absolute()))
        return len(self._artifacts) > known

    def finalize(self, status: str) -> None: ...


def no_logger(folder: Path, job: str, config: Mapping[str, Any]) -> None:
    """Make no logger (`logger=none`): everything is in the run's folder anyway."""


def csv_logger(folder: Path, job: str, config: Mapping[str, Any]) -> CsvLogger:
    """Make the logger of `logger=csv`, which writes `csv/metrics.csv` in the run's folder."""
    return CsvLogger(folder / "csv")


def tensorboard_logger(folder: Path, job: str, config: Mapping[str, Any]) -> TensorBoardLogger:
    """Make the logger of `logger=tensorboard`, which writes to `tensorboard` in the run's folder.

    Raises:
        ImportError: If TensorBoard is missing; the message names the extra to install.
    """
    try:
        return TensorBoardLogger(folder / "tensorboard")
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
    upload: bool = False,
) -> WandbLogger:
    """Open a run of W&B, offline unless someone is logged in or WANDB_MODE says otherwise.

    It never asks for a key and does not wait long for the server. Everything it writes stays in `wandb` in the run's
    folder.

    Args:
        folder: The run's folder.
        job: train, infer or discover; W&B's job type.
        config: What W&B keeps as the run's configuration, with the chosen words.
        project, entity: The W&B project and entity of the run.
        name: The run's name; by default WANDB_NAME, or `<method>-<dataset>-<model>-s<seed>`.
        group: The run's group; by default WANDB_RUN_GROUP, or the multirun that it is part of.
        tags: Tags in addition to the chosen words.
        upload: Whether checkpoints and predictions are uploaded, not only their paths.

    Returns:
        The logger.

    Raises:
        ValueError: If W&B rejects a setting or an environment variable, or cannot open a run.
    """
    import wandb

    os.environ.setdefault("WANDB_SILENT", "true")
    name = name or os.environ.get("WANDB_NAME") or run_name(job, config)
    group = (
        group or os.environ.get("WANDB_RUN_GROUP") or (config.get(MULTIRUN) or "")[-_LONGEST_GROUP:] or None
    )
    own = [*tags, *filter(None, os.environ.get("WANDB_TAGS", "").split(","))]
    _check_settings(
        project=project,
        entity=entity,
        run_name=name,
        run_group=group,
        run_tags=tuple(run_tags(config, own)),
    )
    mode: Any = _mode()
    try:
        run = wandb.init(
            dir=folder,
            mode=mode,
            project=project,
            entity=entity,
            name=name,
            group=group,
            job_type=job,
            tags=run_tags(config, own),
            config=dict(config),
            resume="allow",
        )
    except wandb.Error as error:
        wandb.teardown()
        shutil.rmtree(folder / "wandb", ignore_errors=True)
        raise ValueError(
            f"W&B cannot open a run ({' '.join(str(error).split())}); fix it, or set WANDB_MODE=offline or logger=none"
        ) from error
    os.environ.setdefault(_STAGING, _run_files(run))
    return WandbLogger(run, upload)


def _run_files(run: Any) -> str:
    """Return the folder that W&B uses for this run only."""
    return str(run.settings.sync_dir)


def close(logger: RunLogger | None, code: int = 0) -> None:
    """End a run. W&B is torn down with it; otherwise it would reuse this run's folders for the next run of a sweep.

    Args:
        logger: The logger of the run, or None.
        code: The exit code of the job; W&B shows a run with a nonzero code as failed.
    """
    match logger:
        case WandbLogger():
            import wandb

            run = logger.experiment
            files, offline, url = _run_files(run), run.offline, run.url
            run.finish(exit_code=code)
            wandb.teardown()
            if os.environ.get(_STAGING) == files:
                del os.environ[_STAGING]  # the next run of this process has its own folder
            if offline:
                log.info(
                    "W&B is offline; send the run with: wandb sync %s", shlex.quote(os.path.relpath(files))
                )
            elif url:
                log.info("W&B → %s", url)
        case TensorBoardLogger():
            logger.experiment.close()


def _check_settings(**settings: Any) -> None:
    """Let W&B check its environment variables and the settings from the command line."""
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
            f"{where}={first['input']} is rejected by W&B: {first['msg'].removeprefix('Value error, ')}"
        ) from None
    except wandb.errors.UsageError as error:
        hint = "; give a team as logger.entity" if "/" in str(settings["project"]) else ""
        raise ValueError(f"{error}{hint}") from None


def _mode() -> str:
    """Return the mode that WANDB_MODE names; by default, online if someone is logged in, otherwise offline."""
    import wandb

    asked = os.environ.get("WANDB_MODE")
    if asked in WITHOUT_NETWORK:
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
    """Return whether someone is logged in; raise AuthenticationError if the server refuses or does not answer soon."""
    import wandb

    patience = os.environ.get("WANDB_HTTP_TIMEOUT")
    os.environ["WANDB_HTTP_TIMEOUT"] = patience or _SECONDS_TO_LOG_IN
    try:
        return bool(wandb.login(prompt=False))
    finally:
        if patience is None:
            del os.environ["WANDB_HTTP_TIMEOUT"]
