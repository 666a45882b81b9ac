"""Keys of the stores: a folder is named by what made it, so a stale one cannot be picked up by accident."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from weakspot.identity import Identifiable, describe_target


def key(*words: str, made_from: Mapping[str, Any]) -> str:
    """Folder name `<word>-<word>-<8 hex>`; the digest is of plain values, as canonical JSON."""
    text = json.dumps(made_from, sort_keys=True)
    return "-".join([*words, hashlib.sha256(text.encode()).hexdigest()[:8]])


def identity(
    make: Callable[..., Any], settings: Mapping[str, Any], kind: type[Identifiable]
) -> dict[str, Any]:
    """What makes the products of what `make` builds with these settings different from all others.

    Args:
        make: A class or function, or a `functools.partial` of one.
        settings: What it is called with, as plain values.
        kind: The class of what it builds, or a base of it where that is not known yet.
    """
    target = make.func if isinstance(make, partial) else make
    if isinstance(target, type) and issubclass(target, kind):
        return target.identity(settings)
    return {"made_by": describe_target(target), **kind.identity(settings)}
