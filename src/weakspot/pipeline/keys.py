"""Keys of the stores: a folder is named by what made it, so that an outdated one cannot be used by accident."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from weakspot.identity import Identifiable, describe_target


def store_key(*words: str, made_from: Mapping[str, Any]) -> str:
    """Return the name of a folder in a store, `<word>-<word>-<8 hex>`.

    Args:
        words: The words that begin the name.
        made_from: What made the folder's content, as plain values; the digest is of its canonical JSON.
    """
    text = json.dumps(made_from, sort_keys=True)
    return "-".join([*words, hashlib.sha256(text.encode()).hexdigest()[:8]])


def component_identity(
    make: Callable[..., Any], settings: Mapping[str, Any], kind: type[Identifiable]
) -> dict[str, Any]:
    """Return what distinguishes the products of a component from all others.

    Args:
        make: A class or function, or a `functools.partial` of one.
        settings: The arguments that it is called with, as plain values.
        kind: The class of what it builds, or a base of it where that is not known yet.
    """
    target = make.func if isinstance(make, partial) else make
    if isinstance(target, type) and issubclass(target, kind):
        return target.identity(settings)
    return {"made_by": describe_target(target), **kind.identity(settings)}
