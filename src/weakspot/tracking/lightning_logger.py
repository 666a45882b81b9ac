"""Adapts a run's logger to Lightning's trainer."""

from __future__ import annotations

from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from weakspot.tracking.loggers import RunLogger


def as_lightning_logger(logger: RunLogger) -> Logger:
    """Return a Lightning logger that forwards to a run's logger; a Lightning logger is returned unchanged."""
    return logger if isinstance(logger, Logger) else _ForwardingLogger(logger)


class _ForwardingLogger(Logger):
    """Forwards what a trainer logs to a run's logger."""

    def __init__(self, target: RunLogger) -> None:
        super().__init__()
        self._target = target

    @property
    def name(self) -> str:
        return type(self._target).__name__

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self._target.log_metrics(metrics, step)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Log nothing: the run's configuration is in its folder, and in W&B from the start."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        self._target.finalize(status)
