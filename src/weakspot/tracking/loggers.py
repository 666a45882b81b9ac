"""The loggers of the command line, each made for one run's folder.

They are not Lightning's: those take seconds to import, and most runs train nothing. A run that does hands its own on
(`weakspot.tracking.trainer_logger`).
"""

from __future__ import annotations

import csv
import logging
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from weakspot.predictions.atomic_files import atomic_file
from weakspot.tracking.naming import MULTIRUN, name_of, tags_of

log = logging.getLogger(__name__)

_SECONDS_TO_LOG_IN = "5"
WITHOUT_NETWORK = ("offline", "dryrun", "disabled")  # W&B's modes
_STEP = "trainer/global_step"  # what W&B draws curves over, as under Lightning's own logger
_STAGING = "WANDB_DATA_DIR"  # where W&B lays artifacts ready; by default a folder of the person's home
_LONGEST_GROUP = 128  # that W&B takes
_ROWS_AT_ONCE = 100  # of metrics.csv: what a killed run loses

# A library is imported where its logger is wanted: each takes a second.


class RunLogger(Protocol):
    """What a run's numbers go to: one of these, or any of Lightning's."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log numbers by name."""

    def finalize(self, status: str) -> None:
        """Have all that was logged on the disk; more may follow."""


class CsvLogger:
    """`metrics.csv`, a row for whatever was logged at once; a number that is not among it is empty there."""

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
        with atomic_file(self.file) as draft, draft.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, sorted(set().union(*self._rows)))
            writer.writeheader()
            writer.writerows(self._rows)


class TensorBoardLogger:
    """Event files, by torch's own writer, `experiment`."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.experiment = SummaryWriter(str(folder))

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        for name, value in metrics.items():
            self.experiment.add_scalar(name, value, step)

    def finalize(self, status: str) -> None:
        self.experiment.flush()


class WandbLogger:
    """A run of W&B, `experiment`.

    Args:
        run: W&B's.
        upload: Whether checkpoints and predictions are sent themselves, and not only where they lie.
    """

    def __init__(self, run: Any, upload: bool = False) -> None:
        self.experiment = run
        self.upload = upload
        self._mentioned: set[tuple[str, Path]] = set()
        run.define_metric(_STEP)
        run.define_metric("*", step_metric=_STEP, step_sync=True)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.experiment.log(metrics if step is None else {**metrics, _STEP: step})

    def first_mention(self, kind: str, path: Path) -> bool:
        """Whether the run has not yet said that it read or made this."""
        known = len(self._mentioned)
        self._mentioned.add((kind, path.absolute()))
        return len(self._mentioned) > known

    def finalize(self, status: str) -> None: ...


def no_logger(folder: Path, job: str, config: Mapping[str, Any]) -> None:
    """`logger=none`: the run's folder holds everything anyway."""


def csv_logger(folder: Path, job: str, config: Mapping[str, Any]) -> CsvLogger:
    return CsvLogger(folder / "csv")


def tensorboard_logger(folder: Path, job: str, config: Mapping[str, Any]) -> TensorBoardLogger:
    """Raises ImportError, with the extra to install, where TensorBoard is missing."""
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
    """A W&B run: offline unless someone is logged in or WANDB_MODE says otherwise; nothing asks, or waits long.

    Everything it writes stays in the run's folder, in `wandb`.

    Args:
        folder: The run's.
        job: train, infer or discover, as W&B's job type.
        config: What W&B keeps as the run's configuration, the words that were chosen among it.
        project, entity: Where the run belongs.
        name: By default `<method>-<dataset>-<model>-s<seed>`, or WANDB_NAME.
        group: By default the multirun, if it is one of such, or WANDB_RUN_GROUP.
        tags: Beside the words that were chosen.
        upload: Whether checkpoints and predictions are sent themselves, and not only where they lie.

    Raises ValueError for settings, and environment variables, that W&B does not take, or if it opens no run.
    """
    import wandb

    os.environ.setdefault("WANDB_SILENT", "true")
    name = name or os.environ.get("WANDB_NAME") or name_of(job, config)
    group = (
        group or os.environ.get("WANDB_RUN_GROUP") or (config.get(MULTIRUN) or "")[-_LONGEST_GROUP:] or None
    )
    own = [*tags, *filter(None, os.environ.get("WANDB_TAGS", "").split(","))]
    _check(
        project=project,
        entity=entity,
        run_name=name,
        run_group=group,
        run_tags=tuple(tags_of(config, own)),
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
            tags=tags_of(config, own),
            config=dict(config),
            resume="allow",
        )
    except wandb.Error as error:
        wandb.teardown()
        shutil.rmtree(folder / "wandb", ignore_errors=True)
        raise ValueError(
            f"W&B opens no run ({' '.join(str(error).split())}); mend that, or choose WANDB_MODE=offline or logger=none"
        ) from error
    os.environ.setdefault(_STAGING, _own_files(run))
    return WandbLogger(run, upload)


def _own_files(run: Any) -> str:
    """The folder that W&B keeps for this run alone."""
    return str(run.settings.sync_dir)


def close(logger: RunLogger | None, code: int = 0) -> None:
    """End the run. W&B is torn down with it: it would keep this run's folders for the next one of a sweep.

    Args:
        logger: The run's, or none.
        code: Of the job; W&B shows a run of another than 0 as failed.
    """
    match logger:
        case WandbLogger():
            import wandb

            run = logger.experiment
            files, offline, url = _own_files(run), run.offline, run.url
            run.finish(exit_code=code)
            wandb.teardown()
            if os.environ.get(_STAGING) == files:
                del os.environ[_STAGING]  # the next run of this process has a folder of its own
            if offline:
                log.info("W&B, offline; this sends it: wandb sync %s", shlex.quote(os.path.relpath(files)))
            elif url:
                log.info("W&B → %s", url)
        case TensorBoardLogger():
            logger.experiment.close()


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
    """Whether someone is logged in; raises AuthenticationError if the server refuses, or does not answer soon."""
    import wandb

    patience = os.environ.get("WANDB_HTTP_TIMEOUT")
    os.environ["WANDB_HTTP_TIMEOUT"] = patience or _SECONDS_TO_LOG_IN
    try:
        return bool(wandb.login(prompt=False))
    finally:
        if patience is None:
            del os.environ["WANDB_HTTP_TIMEOUT"]
