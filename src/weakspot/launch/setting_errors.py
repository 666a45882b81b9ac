"""Messages for wrong settings of a command line, `key=value`, which say what to type instead."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob
from hydra.errors import HydraException, SearchPathException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from weakspot import plugins
from weakspot.arguments import TYPE_NAMES
from weakspot.config import schemas
from weakspot.config.choices import CONFIGS, GROUPS, all_choices, own_choices
from weakspot.launch.choice_files import explain_file, plugin_files
from weakspot.launch.job_errors import library_message
from weakspot.launch.options import CommandLine
from weakspot.launch.quoting import SHORT_KEYS, key_of, parses, quoted, word_as_typed
from weakspot.launch.run_folders import explain_run_folder

_EXTRAS = {"sweeper=optuna": "optuna", "launcher=joblib": "joblib", "launcher=submitit": "submitit"}
"""The extras that install Hydra's own choices, by the beginning of the choice."""

_SWEPT = "hydra.sweeper.params"

_NAMES_OF_TYPES = {
    "Integer": TYPE_NAMES[int],
    "Float": TYPE_NAMES[float],
    "Boolean": TYPE_NAMES[bool],
}
"""OmegaConf's types of settings, in plain words."""


def explain_line(name: str, error: Exception, line: CommandLine) -> str | None:
    """Return a sentence that says what is wrong with a line that does not compose, and what to type instead.

    The wrong word is found by composing word by word, choices of files first, until one is refused. If none is, a
    folder could not be made, or Hydra refused something else.

    Args:
        name: The configuration, such as "discover".
        error: What was raised before a job began.
        line: The command line, quoted for Hydra.

    Returns:
        The sentence; None if nothing is wrong with the line.
    """
    if isinstance(error, SearchPathException):
        return library_message(error)
    lone = next((word for word in line.settings if not re.match(r"[^=]+=|~", word)), None)
    if lone is not None:
        default = _composed(name, [])
        if isinstance(default, DictConfig) and lone in setting_names(default):
            return f"{lone} needs a value: write {lone}=…; python {name}.py --help lists what it takes"
        return f"{lone!r} is not a setting: write key=value; python {name}.py --help lists them"
    unread = next((word for word in line.settings if not parses(word)), None)
    if unread is not None:
        return _explain_unparsed(unread, name)
    if "does not support sweep type" in str(error):
        word = next(filter(_is_interval, line.settings), "an interval")  # or it may be in a file of settings
        return (
            f"{word} is a range to search, which this sweeper cannot do: list its values, or add hydra/sweeper=optuna "
            '(pip install "weakspot[optuna]")'
        )
    for word in line.settings:
        clash = explain_clash(key_of(word), word.partition("=")[2])
        if clash:
            return clash
    wrong = _explain_first_wrong_word(name, line)
    if wrong is not None:
        return wrong
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        return explain_run_folder(error, "hydra.sweep.dir" if line.is_sweep else "hydra.run.dir")
    known = isinstance(error, HydraException | OmegaConfBaseException | ValueError)
    return library_message(error) if known else None


def _explain_first_wrong_word(name: str, line: CommandLine) -> str | None:
    """Return what is wrong with the first word that is refused after those before it; None if all compose."""
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
    return None


def explain_clash(group: str, word: str) -> str:
    """Return that a choice has several files, or "" if it has one or none."""
    if group not in GROUPS:
        return ""
    origins = [folder.origin for folder in plugins.choices(group).get(word, [])]
    if word in own_choices(group):
        origins.insert(0, "weakspot")
    if len(origins) < 2:
        return ""
    return (
        f"{group}={word} is in {' and in '.join(origins)}, so it is unclear which is meant: give the file "
        f"{group}/{word}.yaml in {origins[-1]} another name"
    )


def explain_unknown(key: str, known: Sequence[str], advice: str = "") -> str:
    """Return that there is no such setting, and which were probably meant, judging by similar last parts."""
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
        return f"There is no setting {key!r} in its file; if the chosen {group} takes it, write +{key}=…"
    return f"There is no setting {key!r}; --help lists them" + (f", and {advice}" if advice else "")


def setting_names(node: DictConfig, prefix: str = "") -> Iterator[str]:
    """Yield every setting of a configuration, as it is named on the command line: `method`, `method.n_slices`."""
    for key in map(str, node):
        name = f"{prefix}{key}"
        yield name
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            yield from setting_names(child, f"{name}.")


def line_of_first_run(line: CommandLine) -> CommandLine:
    """Return the line of a sweep's first run, because Hydra shows the settings of a run but not of a sweep."""
    settings = [
        word for each in line.settings for word in (_sweep_words(each)[:1] if parses(each) else [each])
    ]
    options = [option for option in line.options if option not in ("-m", "--multirun")]
    return line._replace(options=options, settings=settings, is_sweep=False)


def is_swept(word: str) -> bool:
    """Return whether a word has a value for each of several runs."""
    return OverridesParser.create().parse_override(word).is_sweep_override()


def _is_interval(word: str) -> bool:
    return OverridesParser.create().parse_override(word).is_interval_sweep()


def _sweep_words(word: str) -> list[str]:
    """Return the words of a sweep's jobs for one word of the sweep; none for an interval, which has no fixed values."""
    if not is_swept(word):
        return [word]
    parsed = OverridesParser.create().parse_override(word)
    if parsed.is_interval_sweep():
        return []
    glob = parsed.value()
    values = [
        *(
            glob.filter(all_choices(key_of(word)))
            if isinstance(glob, Glob)
            else parsed.sweep_string_iterator()
        )
    ]
    if parsed.is_range_sweep():  # otherwise each of a thousand numbers would be composed
        values = [*values[:1], *values[1:][-1:]]
    return [f"{word.partition('=')[0]}={value}" for value in values]


def _explain_unparsed(word: str, name: str) -> str:
    key, _, value = word.partition("=")
    if parses(f"key={value}"):
        return f"{key!r} is not a setting: write key=value; python {name}.py --help lists them"
    return (
        f"the value of {key} cannot be read: {value}; put it in quotes, twice because the shell takes one pair: "
        f"\"{key}='{value}'\""
    )


def _explain_word(word: str, error: Exception, before: DictConfig | Exception, folder: str | None) -> str:
    """Return what is wrong with a word.

    Args:
        word: The word.
        error: Hydra's error when it is composed after the words before it.
        before: The configuration that these compose.
        folder: The additional folder of configuration files.
    """
    key, value = key_of(word), word.partition("=")[2]
    known = list(setting_names(before)) if isinstance(before, DictConfig) else []
    if key in GROUPS:
        if isinstance(before, DictConfig) and "dataset" not in before:  # browse.py
            typed = word_as_typed(word)
            return f"{typed} has no effect on this command, which takes no {key_of(typed)}: leave it out"
        return _explain_choice(word, error, known, folder)
    if key.startswith(_SWEPT):  # null by default, for which an assertion in OmegaConf fails
        setting = key.removeprefix(_SWEPT).lstrip(".") or "seed"
        return f"{key} is for files of settings; on the command line, type the swept setting itself: -m {setting}=A,B"
    if re.match(r"hydra[./]", key):
        extra = next((extra for choice, extra in _EXTRAS.items() if word.startswith(f"hydra/{choice}")), None)
        install = f'; pip install "weakspot[{extra}]" installs it' if extra else ""
        return f"{word} cannot be used: {library_message(error)}{install}"
    if known and key not in known:
        return explain_unknown(key, known)
    message = f"{error} {error.__cause__}"
    kind = re.search(r"could not be converted to (\w+)", message)
    if kind:
        return f"{key} must be {_NAMES_OF_TYPES.get(kind[1], kind[1])}, not {value}"
    if "is not Optional" in message:
        return f"{key} must have a value: leave it out for the default"
    if re.search(r"Cannot convert '\w+' to string", message):
        return f"{key} must be text, not {value}"
    if re.search(r"is not a ListConfig|Cannot merge DictConfig with ListConfig", message):
        return f"{key} must be a list, {key}=[A,B], not {value or 'nothing'}"
    settings = [name for name in known if name.startswith(f"{key}.")]
    if settings:
        return f"{key} has settings, and no value of its own: {', '.join(settings)}"
    if "Ambiguous value" in message:
        return f"{word} has a comma: add -m to run each, or quote it: \"{key}='{value}'\""
    return f"{word} cannot be used: {library_message(error)}"


def _explain_choice(word: str, error: Exception, known: Sequence[str], folder: str | None) -> str:
    """Return that a group has no such choice, and which ones it has; or what is wrong with the word or its file."""
    group, value = key_of(word), word.partition("=")[2]
    typed = "encoder" if word.startswith(SHORT_KEYS["encoder"]) else group
    if not word[0].isalpha():
        return f"{word} cannot be used: choose one, {typed}=…, without {word[0]}"
    if "," in value:
        return f"{typed}={value} names several: add -m to run each"
    if value == "null":
        apart = "; a sweep cannot have it among other values" if typed == "encoder" else ""
        return f"{typed}=null is not a choice: leave {typed}= out for the default{apart}"
    for file in plugin_files(group, value, folder):
        return _explain_key_of_file(file, error, known, folder) or explain_file(file, error)
    if value in own_choices(group):
        return f"{typed}={value} cannot be used: {library_message(error)}"
    files = [] if folder is None else plugins.choice_files(Path(folder, group))
    choices = sorted({*all_choices(group), *(file.stem for file in files)})
    close = difflib.get_close_matches(value, choices, n=3)
    if close:
        suggestion = f"Did you mean {' or '.join(f'{typed}={choice}' for choice in close)}?"
    else:
        suggestion = f"There are: {', '.join(choices)}."
    return f"There is no {typed}={value}. {suggestion}"


def _explain_key_of_file(file: Path, error: Exception, known: Sequence[str], folder: str | None) -> str:
    """Return that a file, or one that it names, sets a key that no schema has; "" if something else is wrong."""
    match = re.match(r"In '([^']+)/([^']+)': [^\n]*\nKey '.*' not in '(\w+)'\s+full_key: (\S+)", str(error))
    if match is None:
        return ""
    group, word, schema, key = match.groups()
    file = next(plugin_files(group, word, folder), file)
    parent, one = key.rpartition(".")[0], vars(schemas).get(schema)
    of_schema = [f"{parent}.{field.name}" for field in fields(one)] if parent and is_dataclass(one) else []
    return f"{file}: {explain_unknown(key, [*known, *of_schema])}"


def _explain_other_method(key: str, before: DictConfig | Exception) -> str:
    """Return that the chosen method lacks a setting that others have, or "" if something else is wrong."""
    group, _, setting = key.rpartition(".")
    if group not in ("", "method") or isinstance(before, Exception):
        return ""
    if any(name == key or (not group and name.endswith(f".{setting}")) for name in setting_names(before)):
        return ""
    files = {word: _composed(f"method/{word}", []) for word in all_choices("method")}
    methods = [
        word
        for word, one in files.items()
        if isinstance(one, DictConfig) and "method" in one and setting in one.method
    ]
    if not methods:
        return ""
    return (
        f"There is no setting {key!r} in the chosen method; choose one that has method.{setting}: "
        f"method={', '.join(methods)}"
    )


def _composed(config_name: str, overrides: Sequence[str]) -> DictConfig | Exception:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        try:
            return compose(config_name, list(overrides))
        except Exception as error:  # for a file that another names, PyYAML may raise any error
            return error
