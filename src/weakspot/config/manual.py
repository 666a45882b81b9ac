"""The manual (`--help`): choices and settings with their defaults and help, in 80 columns."""

from __future__ import annotations

import dataclasses
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from weakspot import plugins
from weakspot.arguments import value_as_typed
from weakspot.config.choices import CONFIGS, all_choices
from weakspot.config.schemas import (
    SHARED_HELP,
    BrowseConfig,
    FailIfConfig,
    InferenceConfig,
    JobConfig,
    ReportConfig,
    ReweightConfig,
    SpotlightConfig,
    TrainingConfig,
    UDISConfig,
)
from weakspot.legible import printable
from weakspot.models.names import NAMES

_WIDTH = 80  # columns that any terminal has

_WIDEST_NAME = 36  # columns of a choice, or of a setting with its value, left of its help

_FALLBACK = re.compile(r"\$\{[^,}]*,([^}]*)\}")  # the default value of an interpolation

_SCHEMAS = {
    "job": ("", JobConfig),
    "browse": ("", BrowseConfig),
    "training": ("training.", TrainingConfig),
    "inference": ("inference.", InferenceConfig),
    "reweight": ("reweight.", ReweightConfig),
    "fail_if": ("fail_if.", FailIfConfig),
    "report": ("report.", ReportConfig),
    "spotlight": ("method.", SpotlightConfig),
    "udis": ("method.", UDISConfig),
}
"""The prefix of a schema's settings on the command line, and the schema."""


@cache  # Hydra composes a configuration twice, its manual included
def help_for_choices(group: str) -> str:
    """Return every choice of a group with the first comment of its file, for --help."""
    choices = {file.stem: _comment(file) for file in sorted((CONFIGS / group).glob("*.yaml"))}
    for word, (folder, *_) in plugins.choices(group).items():
        if word not in choices:
            choices[word] = f"{_comment(folder.file(group, word))} ({folder.origin})".strip()
    lines = _rows(choices.items())
    if group == "model":
        lines.append(_paragraph(f"and torchvision's: {', '.join(NAMES)}"))
    return "\n".join(lines).replace("$", "$$")


@cache
def help_for_choice_names(group: str) -> str:
    """Return the names of all choices of a group, for --help."""
    return _paragraph(", ".join(all_choices(group)))


def _paragraph(text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent="  ", subsequent_indent="  ")


def _comment(file: Path) -> str:
    """Return the first comment of a configuration file, or "" if it has none."""
    text = file.read_text(encoding="utf-8", errors="replace")
    comments = [line[1:].strip() for line in text.splitlines() if line.startswith("#")]
    return next((line for line in comments if not line.startswith("@package")), "")


@cache
def help_for_settings(kind: str, command: str | None = None) -> str:
    """Return the settings of a schema, or of a method without one, with defaults and help, for --help.

    Args:
        kind: As in `settings_of`.
        command: The command whose own settings are listed, `all` for those that commands share; None for both.
    """
    return _settings_lines(settings_of(kind, command))


def help_for_chosen(group: str, *, _root_: DictConfig) -> str:
    """Return the settings of the choice for a group, with their values on this command line, for --help."""
    word, node = _root_.hydra.runtime.choices[group], _root_[group]
    names = [str(name) for name in node if name != "_target_"] if isinstance(node, DictConfig) else []
    help = SHARED_HELP | _help_of_chosen(group, word)
    rows = [
        (f"{group}.{name}", value_as_typed(_value_on_line(node, name)), help.get(name, "")) for name in names
    ]
    return f"of {group}={word}" + (f"\n{_settings_lines(rows)}" if rows else ", which has no settings")


def _value_on_line(node: DictConfig, name: str) -> Any:
    """Return a setting's value, or its unresolved text if it cannot be resolved, such as `???` or `${oc.env:X}`."""
    try:
        value = node[name]
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except OmegaConfBaseException:
        values: Any = OmegaConf.to_container(node, resolve=False)
        return values[name]


def help_for_values(kind: str, *, _root_: DictConfig) -> str:
    """Return settings as `help_for_settings` does, but with their values on this command line, as a dataset may set
    them.
    """
    rows = [
        (name, value_as_typed(OmegaConf.select(_root_, name)), help) for name, _, help in settings_of(kind)
    ]
    return _settings_lines(rows)


def _help_of_chosen(group: str, word: str) -> dict[str, str]:
    """Return the help of a choice's settings, from its schema, or from the comments in its file if it has one."""
    if group == "method" and word in _SCHEMAS:
        return {name: help for name, _, help in _rows_of_schema(_SCHEMAS[word][1])}
    for folder in (CONFIGS, *(found.path for found in plugins.folders())):
        if (file := folder / group / f"{word}.yaml").is_file():
            return {name: comment for name, _, comment in _rows_of_file(file) if comment}
    return {}


def _settings_lines(rows: list[tuple[str, str, str]]) -> str:
    return "\n".join(_rows((f"{name}={default}", help) for name, default, help in rows)).replace("$", "$$")


def _rows(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Return names with their help beside them; those of plug-ins are made printable."""
    shown = [(printable(name), printable(help)) for name, help in rows]
    width = 2 + min(max(len(name) for name, _ in shown), _WIDEST_NAME)
    return [_help_line(name, help, width) for name, help in shown]


def settings_of(kind: str, command: str | None = None) -> list[tuple[str, str, str]]:
    """Return the settings of a part of the configuration, as the manual and the documentation list them.

    Args:
        kind: `job`, `browse`, `training`, `inference`, `reweight`, `fail_if`, `report`, or a method's word.
        command: The command that a schema's setting must be declared for to be listed; None for all.

    Returns:
        For each setting, its name on the command line, its default as it would be typed, and its help.
    """
    prefix, schema = _SCHEMAS.get(kind, ("method.", None))
    rows = (
        _rows_of_file(CONFIGS / "method" / f"{kind}.yaml")
        if schema is None
        else _rows_of_schema(schema, command)
    )
    return [(f"{prefix}{name}", _FALLBACK.sub(r"\1", default), help) for name, default, help in rows]


def _rows_of_schema(schema: type, command: str | None = None) -> Iterator[tuple[str, str, str]]:
    """Yield name, default and help of every setting of a schema, or only of one command's, that has a default."""
    for one in fields(schema):
        default = one.default
        if command is not None and one.metadata.get("command") != command:
            continue
        if (
            default is dataclasses.MISSING
            and one.default_factory is not dataclasses.MISSING
            and "help" in one.metadata
        ):
            default = one.default_factory()
        if default is not dataclasses.MISSING and default != MISSING:
            yield one.name, value_as_typed(default), one.metadata.get("help", "")


def _rows_of_file(file: Path) -> Iterator[tuple[str, str, str]]:
    """Yield name, default and comment of every setting of a YAML file."""
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        entry, _, comment = (part.strip() for part in line.partition("  # "))
        name, _, default = entry.partition(": ")
        if default and not name.startswith(("#", "_")):
            yield name.strip(), default.strip('"').replace("${seed}", "0"), comment


def _help_line(name: str, help: str, width: int) -> str:
    """Return a name, indented, with its help beside it, in as many lines as that takes."""
    left, below = f"  {name:<{width}}", " " * (width + 2)
    if len(name) + 2 > width:  # the help begins on the next line
        return "\n".join([left, _filled(help, below, below)]).rstrip()
    return _filled(help, left, below) or left.rstrip()


def _filled(text: str, first: str, others: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent=first, subsequent_indent=others, break_on_hyphens=False)
