"""The tags of a run, for filtering a list of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from weakspot.tracking.run_names import WORDS

_LONGEST_TAG = 64  # characters that W&B accepts


def run_tags(config: Mapping[str, Any], own: Sequence[str]) -> list[str]:
    """Return the user's tags and the chosen words."""
    words = config.get(WORDS) or {}
    chosen = [words.get(group) for group in ("method", "dataset", "model", "experiment")]
    return list(dict.fromkeys([*own, *(word for word in chosen if word and len(word) <= _LONGEST_TAG)]))
