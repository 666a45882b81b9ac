"""Separates the options of a command line, which are Hydra's (`--help`), from its settings, and explains wrong ones."""

from __future__ import annotations

import difflib
import re
from argparse import Action, ArgumentError
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hydra._internal.utils import get_args_parser

_REFUSED_OPTION = "--experimental-rerun"  # refused, although Hydra has it: it unpickles a given file


class CommandLine(NamedTuple):
    """What was typed after a command's name.

    Attributes:
        options: Its options, with their values.
        settings: Its other words, which should be settings, `key=value`.
        is_sweep: Whether it asks for a run for each of several values (`-m`).
        config_folder: The additional folder of configuration files that it names.
        only_shows: Whether it only shows settings (`--help`, `--cfg`, `--info`) and runs nothing.
    """

    options: list[str]
    settings: list[str]
    is_sweep: bool
    config_folder: str | None
    only_shows: bool = False


def read_command_line(command: str, words: Sequence[str]) -> CommandLine:
    """Parse a command line, in any order of its words; `--version` prints the version and ends the process.

    Args:
        command: The command, such as "discover".
        words: What was typed after its name.

    Raises:
        ValueError: If there is no such option, or it does not take such a value; the message says what to type.
    """
    parser = get_args_parser()
    parser.allow_abbrev = parser.exit_on_error = False
    actions = {name: action for action in parser._actions for name in action.option_strings}
    if "--version" in words:  # needs an installed package
        actions["--version"].version = _version()  # type: ignore[attr-defined]
    try:
        read, unknown = parser.parse_known_intermixed_args(words)
    except ArgumentError as error:
        raise ValueError(_explain_value(error, actions)) from None
    if read.experimental_rerun is not None:
        unknown = [_REFUSED_OPTION]
    if read.shell_completion and not any("=" in word for word in read.overrides):
        raise ValueError(
            f"--shell-completion takes a shell: write python {command}.py --shell-completion install=bash"
        )
    if unknown:
        raise ValueError(_explain_unknown(command, unknown[0], actions))
    # options are the words that are not settings; settings are sorted to the end and cut off, not filtered out, because
    # the same word may also be an option's value (`-cd conf conf`)
    settings_last = sorted(words, key=lambda word: word in read.overrides)
    options = settings_last[: len(words) - len(read.overrides)]
    only_shows = bool(read.help or read.hydra_help or read.cfg or read.info)
    return CommandLine(options, read.overrides, read.multirun, read.config_dir, only_shows)


def _version() -> str:
    from importlib.metadata import version

    return f"weakspot {version('weakspot')}"


def _explain_value(error: ArgumentError, actions: Mapping[str, Action]) -> str:
    """Return what values an option takes."""
    action = next(one for one in actions.values() if "/".join(one.option_strings) == error.argument_name)
    option = action.option_strings[0]
    if action.nargs == 0:
        return f"{option} takes no value: write it by itself"
    if action.choices:
        choices = [str(choice) for choice in action.choices]
        given = re.findall(r"invalid choice: '(.*?)'", error.message)
        likely = difflib.get_close_matches(given[0], choices, n=1) if given else []
        best = (likely or choices)[0]
        return f"{option} takes {', '.join(choices[:-1])} or {choices[-1]}: write {option} {best}"
    return f"{option} takes a value, and none is given: write {option} VALUE"


def _explain_unknown(command: str, word: str, actions: Mapping[str, Action]) -> str:
    """Return which option was probably meant, or that settings are typed without dashes."""
    option = word.partition("=")[0]
    close = difflib.get_close_matches(option, actions.keys() - {_REFUSED_OPTION}, n=1, cutoff=0.7)
    if close and len(option) > 2:
        return f"There is no option {option}. Did you mean {close[0]}?"
    return (
        f"There is no option {option}; settings are typed without dashes (method=spotlight), and "
        f"python {command}.py --help lists them"
    )
