"""Keys of the stores: a folder is named by what made it, so a stale one cannot be picked up by accident."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def key(*words: str, made_from: Mapping[str, Any]) -> str:
    """Folder name `<word>-<word>-<8 hex>`; the digest is of the settings as canonical JSON."""
    text = json.dumps(made_from, sort_keys=True, default=str)
    return "-".join([*words, hashlib.sha256(text.encode()).hexdigest()[:8]])
