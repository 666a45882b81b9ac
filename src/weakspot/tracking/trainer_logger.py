"""A run's logger, as a trainer takes it."""

from __future__ import annotations

from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from weakspot.tracking.loggers import RunLogger


def for_trainer(logger: RunLogger) -> Logger:
    """Lightning's view of a run's logger; one of its own is that already."""
    return logger if isinstance(logger, Logger) else _Passing(logger)


class _Passing(Logger):
    """Passes on what a trainer logs."""

    def __init__(self, to: RunLogger) -> None:
        super().__init__()
        self._to = to

    @property
    def name(self) -> str:
        return type(self._to).__name__

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self._to.log_metrics(metrics, step)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """The run's configuration is in its folder, and in W&B from the start."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        self._to.finalize(status)
