"""The configuration files of plug-ins that a command line chooses, and the messages for invalid ones."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from omegaconf import OmegaConf
from yaml import MarkedYAMLError

from weakspot import plugins
from weakspot.config.choices import GROUPS
from weakspot.launch.job_errors import library_message
from weakspot.launch.options import CommandLine
from weakspot.launch.quoting import key_of

_NO_PACKAGE = re.compile(r"\s*#\s*@package\s+(?![\w.]+\s*(?:\n|$))([^\n]*)")
"""A first line with an invalid `@package`, which says where the settings of a file belong."""


def check_chosen_files(line: CommandLine) -> None:
    """Raise ValueError if a plug-in's file that is chosen cannot be read."""
    for word in line.settings:
        for choice in word.partition("=")[2].split(",") if key_of(word) in GROUPS else ():
            for file in plugin_files(key_of(word), choice, line.config_folder):
                check_file(file)


def check_file(file: Path) -> None:
    """Raise ValueError for a configuration file that cannot be read; the message says where in it."""
    try:
        OmegaConf.load(file)
        text = file.read_text(encoding="utf-8")
    except Exception as error:  # PyYAML may raise any error, such as an IndexError for `!!float`
        raise ValueError(explain_file(file, error)) from None
    if wrong := _NO_PACKAGE.match(text):
        raise ValueError(
            f"{file} cannot be used: @package {wrong[1]} is neither _global_ nor a key such as model"
        )


def explain_file(file: Path, error: Exception) -> str:
    """Return what is wrong with a configuration file, and where: in it, or in another file that it names."""
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        message = ", ".join(part for part in (error.context, error.problem) if part)
        return f"{mark.name} is not YAML: line {mark.line + 1}, column {mark.column + 1}: {message}"
    return f"{file} cannot be used: {library_message(error)}"


def plugin_files(group: str, word: str, folder: str | None) -> Iterator[Path]:
    """Yield the files of a choice in the folders of plug-ins and in the additional folder of the command line."""
    folders = [found.path for found in plugins.folders()]
    for path in [*folders, *([] if folder is None else [Path(folder).absolute()])]:
        file = path / group / f"{word}.yaml"
        if os.path.isfile(file):  # unlike pathlib's, it is False for an impossible name
            yield file
