"""Suppresses those messages of Lightning that do not concern a user of weakspot."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silence_lightning() -> Iterator[None]:
    """Suppress Lightning's advertisements, and its advice that does not apply to small data in memory."""
    import lightning_fabric
    import pytorch_lightning

    # imported before their loggers are silenced, because the import sets the loggers' levels
    loggers = [logging.getLogger(package.__name__) for package in (pytorch_lightning, lightning_fabric)]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for advice in (
                "does not have many workers",
                "The number of training batches",
                "Checkpoint directory .* exists",
                "Found .* in eval mode",  # a frozen encoder is meant to be in eval mode
                "`isinstance.treespec, LeafSpec.` is deprecated",
            ):
                warnings.filterwarnings("ignore", f".*{advice}")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
