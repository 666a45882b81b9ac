"""Determines whether W&B would be used online, without contacting W&B."""

from __future__ import annotations

import os
from netrc import NetrcParseError, netrc
from pathlib import Path
from urllib.parse import urlsplit

from weakspot.tracking.loggers import WITHOUT_NETWORK

_SERVER = "https://api.wandb.ai"  # unless WANDB_BASE_URL names another


def api_key_source() -> str | None:
    """Return the name of the variable or file that holds a key for W&B's server, or None if nobody is logged in."""
    for variable in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        if os.environ.get(variable):
            return variable
    given = os.environ.get("NETRC")
    files = [Path(given)] if given else [Path.home() / name for name in (".netrc", "_netrc")]
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or _SERVER).netloc
    for file in files:
        try:
            found = netrc(file).authenticators(host)
        except (OSError, NetrcParseError):
            continue
        if found and found[2]:
            return str(file)
    return None


def describe_login() -> tuple[bool, str]:
    """Return whether a run can be logged as requested, and a text that says whether offline or online, and why."""
    asked, key = os.environ.get("WANDB_MODE"), api_key_source()
    if asked in WITHOUT_NETWORK:
        return True, f"{asked}, as WANDB_MODE says"
    if key is not None:
        return True, f"online, with the key in {key}, which was not checked with W&B"
    if asked:
        return False, f"WANDB_MODE={asked}, but nobody is logged in: run `wandb login`, or leave it out"
    return True, "offline, because nobody is logged in (run `wandb login`); logger=none turns W&B off"
