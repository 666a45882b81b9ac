"""What is said of settings of a command line, `key=value`, that are wrong, and what to type instead."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob
from hydra.errors import HydraException, SearchPathException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError

from weakspot import plugins
from weakspot.arguments import TYPE_NAMES
from weakspot.config.choices import CONFIGS, GROUPS, all_choices, own_choices
from weakspot.launch.job_errors import library_message
from weakspot.launch.options import CommandLine
from weakspot.launch.quoting import SHORT, parses, quoted
from weakspot.launch.run_folders import explain_run_folder

NOT_COMPOSED = (HydraException, OmegaConfBaseException, YAMLError, OSError, ValueError, RecursionError)
"""The errors with which Hydra refuses a command line, or a file that it names."""

_NO_PACKAGE = re.compile(r"\s*#\s*@package\s+(?![\w.]+\s*(?:\n|$))([^\n]*)")
"""A first line that says in no readable way where the settings of a file belong."""

_NAMES_OF_TYPES = {
    "Integer": TYPE_NAMES[int],
    "Float": TYPE_NAMES[float],
    "Boolean": TYPE_NAMES[bool],
}
"""OmegaConf's types of settings, in plain words."""


def explain_line(name: str, error: Exception, line: CommandLine) -> str:
    """Return a sentence that says what is wrong with a line that does not compose, and what to type instead.

    The wrong word is found by composing word by word, choices of files first, until one is refused. Where none is, the
    folder of the run could not be made.

    Args:
        name: The configuration, such as "discover".
        error: Hydra's error.
        line: The command line, quoted for Hydra.
    """
    if isinstance(error, SearchPathException):
        return library_message(error)
    lone = next((word for word in line.settings if not re.match(r"[^=]+=|~", word)), None)
    if lone is not None:
        default = _composed(name, [])
        if isinstance(default, DictConfig) and lone in setting_names(default):
            return f"{lone} needs a value: write {lone}=…; python {name}.py --help lists what it takes"
        return f"{lone!r} is no setting: write key=value; python {name}.py --help lists them"
    unread = next((word for word in line.settings if not parses(word)), None)
    if unread is not None:
        return _explain_unparsed(unread)
    if "does not support sweep type" in str(error):
        word = next(filter(_is_interval, line.settings), "an interval")  # of a file of settings, perhaps
        return (
            f"{word} is to be searched, which this sweeper cannot: list its values, or add hydra/sweeper=optuna "
            '(pip install "weakspot[optuna]")'
        )
    for word in line.settings:
        clash = explain_clash(key_of(word), word.partition("=")[2])
        if clash:
            return clash
    folder = None if line.config_folder is None else os.path.abspath(line.config_folder)
    searchpath = [] if folder is None else [f"hydra.searchpath=[{quoted(f'file://{folder}')}]"]
    composed = _composed(name, searchpath)
    accepted: list[str] = []
    for word in sorted(line.settings, key=lambda word: key_of(word) not in GROUPS):
        words = _sweep_words(word) if line.is_sweep else [word]
        for one in words:
            result = _composed(name, [*searchpath, *accepted, one])
            if isinstance(result, Exception):
                return _explain_other_method(key_of(one), composed) or _explain_word(
                    one, result, composed, folder
                )
        if words:
            composed, accepted = result, [*accepted, words[-1]]
    if isinstance(error, OSError) and not isinstance(error, HydraException):  # the line composes
        return explain_run_folder(error, "hydra.sweep.dir" if line.is_sweep else "hydra.run.dir")
    return library_message(error)


def check_chosen_files(line: CommandLine) -> None:
    """Raise ValueError for a plug-in's file that is chosen and cannot be read."""
    for word in line.settings:
        for choice in word.partition("=")[2].split(",") if key_of(word) in GROUPS else ():
            for file in _plugin_files(key_of(word), choice, line.config_folder):
                check_file(file)


def check_file(file: Path) -> None:
    """Raise ValueError for a configuration file that cannot be read; the message says where in it."""
    try:
        OmegaConf.load(file)
    except Exception as error:  # PyYAML lets through whatever it stumbles over, an IndexError for `!!float`
        raise ValueError(explain_file(file, error)) from None
    if wrong := _NO_PACKAGE.match(file.read_text(encoding="utf-8")):
        raise ValueError(
            f"{file} cannot be used: @package {wrong[1]} is neither _global_ nor a key such as model"
        )


def explain_file(file: Path, error: Exception) -> str:
    """Return what is wrong with a configuration file, and where in it, or in another file that it names."""
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{mark.name} is not YAML: line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return f"{file} cannot be used: {library_message(error)}"


def explain_clash(group: str, word: str) -> str:
    """Return that a choice has several files, or "" where it has one or none."""
    if group not in GROUPS:
        return ""
    origins = [folder.origin for folder in plugins.choices(group).get(word, [])]
    if word in own_choices(group):
        origins.insert(0, "weakspot")
    if len(origins) < 2:
        return ""
    return (
        f"{group}={word} is in {' and in '.join(origins)}, so it is not known which is meant: give the file "
        f"{group}/{word}.yaml in {origins[-1]} another name"
    )


def explain_unknown(key: str, known: Sequence[str], advice: str = "") -> str:
    """Return that there is no such setting, and which were probably meant, because their last parts look alike."""
    part = key.rsplit(".", 1)[-1]
    names = dict.fromkeys([*GROUPS, *(name for name in known if name != key)])
    near = difflib.get_close_matches(part, {name.rsplit(".", 1)[-1] for name in names}, n=3, cutoff=0.6)
    close = [name for last in near for name in names if name.rsplit(".", 1)[-1] == last]
    alike = [name for name in close if ("." in name) == ("." in key)]  # method.x for metod.x, model for modle
    exact = [name for name in close if name.rsplit(".", 1)[-1] == part]
    close = exact or alike
    if close:
        own = [name for name in close if name.rpartition(".")[0] == key.rpartition(".")[0]]
        return f"There is no setting {key!r}. Did you mean {' or '.join((own or close)[:3])}?"
    group = key.split(".")[0]
    if "." in key and group in GROUPS and not advice:
        return (
            f"There is no setting {key!r} in its file; if what is chosen for {group} takes it, write +{key}=…"
        )
    return f"There is no setting {key!r}; --help lists them" + (f", and {advice}" if advice else "")


def key_of(word: str) -> str:
    """Return the key of a setting that was typed, such as `model` of `model@encoder=resnet18` or of `~model`."""
    return re.split(r"[=@]", word.lstrip("+~"), maxsplit=1)[0]


def setting_names(node: DictConfig, prefix: str = "") -> Iterator[str]:
    """Yield every setting of a configuration, as it is called on the command line: `method`, `method.n_slices`."""
    for key in map(str, node):
        name = f"{prefix}{key}"
        yield name
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            yield from setting_names(child, f"{name}.")


def _is_interval(word: str) -> bool:
    return OverridesParser.create().parse_override(word).is_interval_sweep()


def _sweep_words(word: str) -> list[str]:
    """Return the words of a sweep's jobs for one word of the sweep; none for an interval, from which any is taken."""
    parsed = OverridesParser.create().parse_override(word)
    if not parsed.is_sweep_override():
        return [word]
    if parsed.is_interval_sweep():
        return []
    glob = parsed.value()
    values = (
        glob.filter(all_choices(key_of(word))) if isinstance(glob, Glob) else parsed.sweep_string_iterator()
    )
    return [f"{word.partition('=')[0]}={value}" for value in values]


def _explain_unparsed(word: str) -> str:
    key, _, value = word.partition("=")
    return (
        f"the value of {key} cannot be read: {value}; put it in quotes, twice because the shell takes one pair: "
        f"\"{key}='{value}'\""
    )


def _explain_word(word: str, error: Exception, before: DictConfig | Exception, folder: str | None) -> str:
    """Return what is wrong with a word.

    Args:
        word: The word.
        error: Hydra's error where it is composed after the words before it.
        before: What these compose.
        folder: The further folder of configuration files.
    """
    key, value = key_of(word), word.partition("=")[2]
    if key in GROUPS:
        return _explain_choice(word, error, folder)
    known = list(setting_names(before)) if isinstance(before, DictConfig) else []
    if known and key not in known:
        return explain_unknown(key, known)
    said = f"{error} {error.__cause__}"
    kind = re.search(r"could not be converted to (\w+)", said)
    if kind:
        return f"{key} must be {_NAMES_OF_TYPES.get(kind[1], kind[1])}, not {value}"
    if "is not Optional" in said:
        return f"{key} must have a value: leave it out for the default"
    if re.search(r"Cannot convert '\w+' to string", said):
        return f"{key} must be text, not {value}"
    if re.search(r"is not a ListConfig|Cannot merge DictConfig with ListConfig", said):
        return f"{key} must be a list, {key}=[A,B], not {value or 'nothing'}"
    settings = [name for name in known if name.startswith(f"{key}.")]
    if settings:
        return f"{key} has settings, and no value of its own: {', '.join(settings)}"
    if "Ambiguous value" in said:
        return f"{word} has a comma: add -m for a run for each, or quote it: \"{key}='{value}'\""
    return f"{word} cannot be used: {library_message(error)}"


def _explain_choice(word: str, error: Exception, folder: str | None) -> str:
    """Return that a group has no such choice, and which it has; or what is wrong with the file of the choice."""
    group, value = key_of(word), word.partition("=")[2]
    typed = "encoder" if word.startswith(SHORT["encoder"]) else group
    for file in _plugin_files(group, value, folder):
        return explain_file(file, error)
    files = [] if folder is None else Path(folder, group).glob("*.yaml")
    choices = sorted({*all_choices(group), *(file.stem for file in files)})
    close = difflib.get_close_matches(value, choices, n=3)
    if close:
        suggestion = f"Did you mean {' or '.join(f'{typed}={choice}' for choice in close)}?"
    else:
        suggestion = f"There are: {', '.join(choices)}."
    return f"There is no {typed}={value}. {suggestion}"


def _plugin_files(group: str, word: str, folder: str | None) -> Iterator[Path]:
    """Yield the files of a choice in the folders of plug-ins, and in the further folder of the command line."""
    for path in [
        *(found.path for found in plugins.folders()),
        *([] if folder is None else [Path(folder).absolute()]),
    ]:
        if (file := path / group / f"{word}.yaml").is_file():
            yield file


def _explain_other_method(key: str, before: DictConfig | Exception) -> str:
    """Return that the chosen method lacks a setting that others have, or "" where something else is wrong."""
    group, _, setting = key.rpartition(".")
    if group not in ("", "method") or isinstance(before, Exception):
        return ""
    if any(name == key or (not group and name.endswith(f".{setting}")) for name in setting_names(before)):
        return ""
    files = {word: _composed(f"method/{word}", []) for word in all_choices("method")}
    methods = [word for word, one in files.items() if isinstance(one, DictConfig) and setting in one.method]
    if not methods:
        return ""
    return (
        f"There is no setting {key!r} in the method chosen; choose one that has method.{setting}: "
        f"method={', '.join(methods)}"
    )


def _composed(config_name: str, overrides: Sequence[str]) -> DictConfig | Exception:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        try:
            return compose(config_name, list(overrides))
        except NOT_COMPOSED as error:
            return error
