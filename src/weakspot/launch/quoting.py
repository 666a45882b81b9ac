"""Rewrites typed settings for Hydra's grammar, and turns them back into what was typed."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

LIST_SETTINGS = ("slices", "compare", "method.past", "folders", "trust")
"""Settings that are lists of files or modules, which may be typed with commas and without brackets."""

SHORT_KEYS = {"reweight": "reweight.by", "encoder": "model@encoder"}
"""Short keys and the settings that they stand for, such as `reweight=RUN` for `reweight.by=RUN`."""

_PIECE = re.compile(r"[^\[\]{},:]+")  # an item of a list or a mapping


def quote_for_hydra(words: Sequence[str], is_sweep: bool = False) -> list[str]:
    """Return the words with quotes around values that Hydra's grammar cannot read: with spaces, brackets, = or ~.

    A `~` at the start of a value becomes the home folder, as in a shell, and `None`, as Python's sweepers write it,
    becomes null. A word that cannot be parsed even so stays unchanged, for `explain_line`.

    Args:
        words: The settings that were typed.
        is_sweep: Whether commas separate the values of several runs.
    """
    return [_quote_word(word, is_sweep) for word in words]


def word_as_typed(word: str) -> str:
    """Return a word as people type it, with the short key for the setting that Hydra was given."""
    for short, long in SHORT_KEYS.items():
        if word.startswith(f"{long}="):
            return short + word.removeprefix(long)
    return word


def key_of(word: str) -> str:
    """Return the key of a typed setting, such as `model` for `model@encoder=resnet18` or `~model`."""
    return re.split(r"[=@]", word.lstrip("+~"), maxsplit=1)[0]


def _quote_word(word: str, sweep: bool) -> str:
    key, equals, value = word.partition("=")
    if not equals:
        return word
    if value == "None":
        return _quote_word(f"{key}=null", sweep)
    if word == "encoder=null":
        return word  # null is a value here, not the name of a choice
    if key in SHORT_KEYS and not value.startswith("{"):
        return _quote_word(f"{SHORT_KEYS[key]}={value}", sweep)
    if key in LIST_SETTINGS and value not in ("", "null") and not value.startswith(("[", "{")):
        value = ",".join(f"[{one}]" for one in value.split(",")) if sweep else f"[{value}]"
        word = f"{key}={value}"
    if parses(word):
        return word
    if value.startswith(("[", "{")):
        attempt = f"{key}={_PIECE.sub(lambda piece: _quoted_piece(piece[0]), value)}"
    else:
        values = value.split(",") if sweep else [value]
        attempt = f"{key}={','.join(_quoted_value(one) for one in values)}"
    return attempt if parses(attempt) else word


def _quoted_value(value: str) -> str:
    return value if parses(f"key={value}") else quoted(os.path.expanduser(value))


def _quoted_piece(text: str) -> str:
    bare = text.strip()
    if not bare or bare[0] in "'\"" or parses(f"key={bare}"):
        return text
    return text.replace(bare, quoted(os.path.expanduser(bare)))


def quoted(text: str) -> str:
    """Return a text in quotes, as Hydra's grammar reads it."""
    return "'" + text.replace("'", "\\'") + "'"


def parses(word: str) -> bool:
    """Return whether Hydra's grammar can read a word."""
    try:
        OverridesParser.create().parse_override(word)
    except HydraException:
        return False
    return True
