"""What all commands share while they run: the logger, what is said, and the line that was typed."""

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

from weakspot.config import build, plain_values
from weakspot.launch import begin
from weakspot.signals import Interrupted

if TYPE_CHECKING:
    from weakspot.report.options import ReportOptions
    from weakspot.tracking.loggers import RunLogger

log = logging.getLogger(__name__)


@contextmanager
def opened_logger(cfg: DictConfig, folder: Path) -> Iterator[RunLogger | None]:
    from weakspot.pipeline.ranks import is_main
    from weakspot.tracking.loggers import close

    logger: RunLogger | None = None
    if is_main():
        logger = build(cfg.logger, positional=3)(folder, HydraConfig.get().job.name, _logged(cfg))
    try:
        if is_main():
            begin(cfg)
        yield logger
    except BaseException as error:
        close(logger, error.code if isinstance(error, Interrupted) else 1)
        raise
    close(logger)


def _logged(cfg: DictConfig) -> dict[str, Any]:
    """The configuration as plain values, with the words that were chosen and the multirun that the run is one of."""
    from weakspot.tracking.run_names import MULTIRUN, WORDS

    config: Any = HydraConfig.get()
    several = config.mode == RunMode.MULTIRUN
    return plain_values(cfg) | {
        WORDS: _words(cfg, config.job.name, dict(config.runtime.choices)),
        MULTIRUN: Path(config.sweep.dir).as_posix() if several else None,
    }


def _words(cfg: DictConfig, job: str, choices: dict[str, str]) -> dict[str, str]:
    """By group the word that was chosen; the file that was given stands for a dataset and a model."""
    given = cfg.tree or cfg.predictions
    found = {
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
    unsaid = set() if job == "discover" else {"method"}
    if given or cfg.compare:
        unsaid |= {"dataset", "model", "encoder"}
    return {group: word for group, word in found.items() if word and word != "null" and group not in unsaid}


def say(line: str) -> None:
    from weakspot.pipeline.ranks import is_main

    if is_main():
        log.info(line)


def typed_command() -> str:
    return " ".join(["python", shlex.join(sys.argv)]).replace(sys.argv[0], Path(sys.argv[0]).name, 1)


def report_options(cfg: DictConfig) -> ReportOptions:
    """How much the report shows; what cannot be is refused.

    Raises:
        ImportError: If the map needs a library that is missing.
        ValueError: If it is none of what there is.
    """
    from weakspot.explain.neighbour_maps import check_installed
    from weakspot.report.options import ReportOptions

    options = ReportOptions(cfg.report.members, cfg.report.examples, cfg.report.map)
    check_installed(options.map)
    return options
