"""Reads the predictions that a command line names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

if TYPE_CHECKING:
    from weakspot.predictions import Predictions


def load_predictions(cfg: DictConfig, path: str | Path) -> Predictions:
    """Read a file or a store, as `outputs_are` and `task` say.

    Args:
        cfg: The configuration.
        path: The file or folder.

    Raises:
        ValueError: If a setting is unknown, or what it says does not fit the file.
    """
    from weakspot.predictions import Predictions
    from weakspot.tasks import Regression

    if cfg.task not in (None, "regression"):
        raise ValueError(
            f"task={cfg.task} is unknown; choose regression, or leave it out: names and whole numbers are classes"
        )
    return Predictions.load(path, cfg.outputs_are, None if cfg.task is None else Regression())


def check_residuals(file: str, p: Predictions) -> None:
    """Raise ValueError, with the file's name, if nothing in it says how wrong the model is."""
    from weakspot.methods.residuals import residuals

    try:
        residuals(p.take([0]))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
