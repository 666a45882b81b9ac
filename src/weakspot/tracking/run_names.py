"""The name, tags and group of a run, by which it is found in a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

WORDS = "words"
"""The key in a logger's configuration of the words that were chosen, by group (method, dataset, model, experiment), or
of the file of predictions that was given instead of a dataset and a model."""

MULTIRUN = "multirun"
"""The key in a logger's configuration of the folder of the multirun that a run is part of, or None."""

_LONGEST_TAG, _LONGEST_NAME = 64, 128  # characters that W&B accepts


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


def run_tags(config: Mapping[str, Any], own: Sequence[str]) -> list[str]:
    """Return the tags that a user gave, and the words that were chosen."""
    words = config.get(WORDS) or {}
    chosen = [words.get(group) for group in ("method", "dataset", "model", "experiment")]
    return list(dict.fromkeys([*own, *(word for word in chosen if word and len(word) <= _LONGEST_TAG)]))
