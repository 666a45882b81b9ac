"""The logger of a run, messages to the user, and the command line that was typed."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from weakspot.config.build import build, plain_values
from weakspot.launch.run_folders import begin
from weakspot.signals import Interrupted

if TYPE_CHECKING:
    from weakspot.tracking.loggers import RunLogger

log = logging.getLogger(__name__)


@contextmanager
def open_logger(cfg: DictConfig, folder: Path) -> Iterator[RunLogger | None]:
    """Yield the run's logger, on rank 0, and close it with the run's exit code."""
    from weakspot.pipeline.processes import is_main_process
    from weakspot.tracking.loggers import close

    logger: RunLogger | None = None
    if is_main_process():
        logger = build(cfg.logger, positional=3)(folder, HydraConfig.get().job.name, _logged_settings(cfg))
    try:
        begin(cfg)
        yield logger
    except BaseException as error:
        close(logger, error.code if isinstance(error, Interrupted) else 1)
        raise
    close(logger)


def _logged_settings(cfg: DictConfig) -> dict[str, Any]:
    """Return the configuration as plain values, with the choice for each group and the multirun that the run belongs
    to.
    """
    from weakspot.tracking.run_names import MULTIRUN, WORDS

    config: Any = HydraConfig.get()
    is_multirun = config.mode == RunMode.MULTIRUN
    return plain_values(cfg) | {
        WORDS: _chosen_words(cfg, config.job.name, dict(config.runtime.choices)),
        MULTIRUN: Path(config.sweep.dir).as_posix() if is_multirun else None,
    }


def _chosen_words(cfg: DictConfig, job: str, choices: dict[str, str]) -> dict[str, str]:
    """Return the choice for each group; a given file replaces the dataset and the model."""
    given = cfg.tree or cfg.predictions
    chosen = {
        "method": "udis"
        if cfg.tree
        else "compare"
        if cfg.compare
        else "slices"
        if cfg.slices
        else choices["method"],
        "predictions": given,
        "dataset": choices["dataset"],
        "model": choices["model"],
        "encoder": choices.get("model@encoder"),
        "experiment": choices.get("experiment"),
    }
    left_out = set() if job == "discover" else {"method"}
    if given or cfg.compare:
        left_out |= {"dataset", "model", "encoder"}
    return {
        group: word for group, word in chosen.items() if word and word != "null" and group not in left_out
    }


def log_on_main(line: str) -> None:
    """Log a line, on rank 0."""
    from weakspot.pipeline.processes import is_main_process

    if is_main_process():
        log.info(line)


def typed_command() -> str:
    """Return the command line that was typed, for a script or for an installed command."""
    program = Path(sys.argv[0]).name
    return shlex.join([*(["python"] if program.endswith(".py") else []), program, *sys.argv[1:]])
