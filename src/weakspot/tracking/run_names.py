"""The name and the group of a run, for finding it in a list."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

WORDS = "words"
"""The key in a logger's configuration for the chosen words, by group (method, dataset, model, experiment), or for the
file of predictions that was given instead of a dataset and a model."""

MULTIRUN = "multirun"
"""The key in a logger's configuration for the folder of the multirun that a run is part of, or None."""

_LONGEST_NAME = 128  # characters that W&B accepts


def run_name(job: str, config: Mapping[str, Any]) -> str | None:
    """Return `<method>-<dataset>-<model>-s<seed>`, with the job instead of the method if nothing is searched.

    Args:
        job: train, infer or discover.
        config: The configuration of the run, with the chosen words.

    Returns:
        The name; None if no words are known.
    """
    words = config.get(WORDS)
    if not words:
        return None
    first = words.get("method") if job == "discover" else job
    given = words.get("predictions")
    parts = [first, Path(given).stem if given else None, words.get("dataset"), words.get("model")]
    return "-".join([*(part for part in parts if part), f"s{config.get('seed', 0)}"])[:_LONGEST_NAME]
