"""What a run is called where many are listed: its name, its tags and its group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

WORDS = "words"
"""In the configuration of a logger: the words that were chosen, by group (method, dataset, model, experiment), or the
file of predictions that was given instead of a dataset and a model."""

MULTIRUN = "multirun"
"""In the configuration of a logger: the folder of the multirun that a run is one of, or None."""

_LONGEST_TAG, _LONGEST_NAME = 64, 128  # that W&B takes


def name_of(job: str, config: Mapping[str, Any]) -> str | None:
    """`<method>-<dataset>-<model>-s<seed>`, the job's word standing for the method where nothing is searched.

    Args:
        job: train, infer or discover.
        config: Of the run, with the words.

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


def tags_of(config: Mapping[str, Any], own: Sequence[str]) -> list[str]:
    """A person's own tags, and the words that were chosen."""
    words = config.get(WORDS) or {}
    chosen = [words.get(group) for group in ("method", "dataset", "model", "experiment")]
    return list(dict.fromkeys([*own, *(word for word in chosen if word and len(word) <= _LONGEST_TAG)]))
