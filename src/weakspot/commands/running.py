"""What all commands share while they run: the logger, what is said, and the line that was typed."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from weakspot.config import build, plain
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
        logger = build(cfg.logger, positional=3)(folder, HydraConfig.get().job.name, plain(cfg))
        begin(cfg)
    try:
        yield logger
    except BaseException as error:
        close(logger, error.code if isinstance(error, Interrupted) else 1)
        raise
    close(logger)


def say(line: str) -> None:
    from weakspot.pipeline.ranks import is_main

    if is_main():
        log.info(line)


def typed_command() -> str:
    return " ".join(["python", shlex.join(sys.argv)]).replace(sys.argv[0], Path(sys.argv[0]).name, 1)


def report_options(cfg: DictConfig) -> ReportOptions:
    """How much the report shows; what cannot be is refused.

    Raises:
        ValueError: If it is none of what there is.
    """
    from weakspot.report.options import ReportOptions

    return ReportOptions(cfg.report.members, cfg.report.examples)
