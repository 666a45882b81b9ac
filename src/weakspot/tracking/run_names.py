"""The name and the group of a run, by which it is found in a list."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

WORDS = "words"
"""The key in a logger's configuration of the words that were chosen, by group (method, dataset, model, experiment), or
of the file of predictions that was given instead of a dataset and a model."""

MULTIRUN = "multirun"
"""The key in a logger's configuration of the folder of the multirun that a run is part of, or None."""

_LONGEST_NAME = 128  # characters that W&B accepts


def run_name(job: str, config: Mapping[str, Any]) -> str | None:
    """Return `<method>-<dataset>-<model>-s<seed>`, with the job's word instead of the method where nothing is searched.

    Args:
        job: train, infer or discover.
        config: The configuration of the run, with the words that were chosen.

    Returns:
        The name; None where no words are known.
    """
    words = config.get(WORDS)
    if not words:
        return None
    first = words.get("method") if job == "discover" else job
    given = words.get("predictions")
    parts = [first, Path(given).stem if given else None, words.get("dataset"), words.get("model")]
    return "-".join([*(part for part in parts if part), f"s{config.get('seed', 0)}"])[:_LONGEST_NAME]
