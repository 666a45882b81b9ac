"""The settings of a command line, `key=value`, which are checked, and explained if wrong."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, SearchPathException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from weakspot import plugins
from weakspot.config.choices import CONFIGS, GROUPS, own_words
from weakspot.launch.options import CommandLine
from weakspot.launch.quoting import SHORT, parses, quoted, word_as_typed

_SETTINGS_BEFORE_PREDICTIONS = (
    "dataset",
    "model",
    "encoder",
    "cam",
    "split",
    "checkpoint",
    "training",
    "inference",
    "reweight",
)

_IGNORED_WITH = {
    "tree": (
        "a tree by itself",
        (
            *_SETTINGS_BEFORE_PREDICTIONS,
            "predictions",
            "slices",
            "outputs_are",
            "method",
            "confirm",
            "stability",
            "fail_if",
            "export",
            "folders",
            "root",
            "trust",
        ),
        ("method=udis", "method.accuracy_threshold"),
    ),
    "compare": (
        "two runs by themselves",
        (
            *_SETTINGS_BEFORE_PREDICTIONS,
            "experiment",
            "predictions",
            "slices",
            "tree",
            "outputs_are",
            "method",
            "confirm",
            "stability",
            "export",
            "report",
        ),
        (),
    ),
    "slices": (
        "slices that are there already",
        ("experiment", "method", "stability"),
        (),
    ),
    "predictions": (
        "predictions that are there already",
        _SETTINGS_BEFORE_PREDICTIONS,
        ("dataset.group", "dataset.hide", "dataset.root"),
    ),
}
"""For each setting that names existing results: what these are, the keys that have no effect beside it, and the words
or keys among them that have an effect all the same."""

_TYPE_NAMES = {
    "Integer": "a whole number",
    "Float": "a number",
    "Boolean": "true or false",
}  # OmegaConf's words


def check_settings(config: DictConfig, words: Sequence[str]) -> None:
    """Raise ValueError for a setting that has no effect.

    That is a key with a + that no schema has, as Hydra takes any, a key without a value, or a setting of a step that
    existing results replace.

    Args:
        config: The composed configuration.
        words: The words that were typed.
    """
    for key in _unknown_keys(config):
        raise ValueError(_unknown_setting(key, list(_keys(config)), "settings that exist need no +"))
    for word in words:  # such as predictions=$FILE in a shell that knows no FILE
        if word.endswith("=") or (word.endswith("=[]") and _key(word) in _IGNORED_WITH):
            raise ValueError(f"{word_as_typed(word)} has no value: give it one, or leave it out")
    for given, (what, ignored, exceptions) in _IGNORED_WITH.items():
        if not config.get(given):
            continue
        for word in words:
            if _key(word).split(".")[0] in ignored and not {word, _key(word)} & set(exceptions):
                files = config[given] if isinstance(config[given], str) else ",".join(config[given])
                raise ValueError(
                    f"{word_as_typed(word)} says nothing of {what}: leave it out, or leave out {given}={files}"
                )


def check_choices(choices: Mapping[str, str | None]) -> None:
    """Raise ValueError for a choice that stands for several files, the project's or of plug-ins.

    Args:
        choices: What is chosen for each group, as Hydra records it: `{"dataset": "digits", "model@encoder": None}`.
    """
    for group, word in choices.items():
        clash = _explain_clash(group.partition("@")[0], word or "")
        if clash:
            raise ValueError(clash)


def _explain_clash(group: str, word: str) -> str:
    """Return that a choice has several files, or "" where it has one or none."""
    if group not in GROUPS:
        return ""
    origins = [folder.origin for folder in plugins.choices(group).get(word, [])]
    if word in own_words(group):
        origins.insert(0, "weakspot")
    if len(origins) < 2:
        return ""
    return (
        f"{group}={word} is in {' and in '.join(origins)}, so it is not known which is meant: give the file "
        f"{group}/{word}.yaml in {origins[-1]} another name"
    )


def _unknown_keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    """Yield the keys that a schema does not have."""
    schema = OmegaConf.get_type(node)
    known = {field.name for field in fields(schema)} if is_dataclass(schema) else None
    for key in map(str, node):
        child = node._get_node(key)
        if known is not None and key not in known:
            yield from (
                [*_keys(child, f"{prefix}{key}.")][-1:]
                if isinstance(child, DictConfig)
                else [f"{prefix}{key}"]
            )
        elif isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            yield from _unknown_keys(child, f"{prefix}{key}.")


def explain(name: str, error: Exception, line: CommandLine) -> str:
    """Return a sentence that says what is wrong with a line that does not compose, and what to type instead.

    The wrong word is found by composing word by word, choices of files first, until one is refused.

    Args:
        name: The configuration, such as "discover".
        error: Hydra's error.
        line: The command line, quoted for Hydra.
    """
    if isinstance(error, SearchPathException):
        return _one_line(error)
    lone = next((word for word in line.settings if not re.match(r"[^=]+=|~", word)), None)
    if lone is not None:
        return f"{lone!r} is no setting: write key=value; python {name}.py --help lists them"
    unread = next((word for word in line.settings if not parses(word)), None)
    if unread is not None:
        return _explain_unparsed(unread)
    for word in line.settings:
        clash = _explain_clash(_key(word), word.partition("=")[2])
        if clash:
            return clash
    folder = None if line.config_folder is None else os.path.abspath(line.config_folder)
    searchpath = [] if folder is None else [f"hydra.searchpath=[{quoted(f'file://{folder}')}]"]
    composed = _composed(name, searchpath)
    accepted: list[str] = []
    for word in sorted(line.settings, key=lambda word: _key(word) not in GROUPS):
        for one in _sweep_words(word) if line.is_sweep else [word]:
            result = _composed(name, [*searchpath, *accepted, one])
            if isinstance(result, Exception):
                return _explain_other_method(_key(one), composed) or _explain_word(
                    one, result, composed, folder
                )
        composed, accepted = result, [*accepted, one]
    return _one_line(error)


def _sweep_words(word: str) -> list[str]:
    """Return the words of a sweep's jobs for one word of the sweep."""
    parsed = OverridesParser.create().parse_override(word)
    if not parsed.is_sweep_override():
        return [word]
    return [f"{word.partition('=')[0]}={value}" for value in parsed.sweep_string_iterator()]


def _explain_unparsed(word: str) -> str:
    key, _, value = word.partition("=")
    return (
        f"the value of {key} cannot be read: {value}; put it in quotes, twice because the shell takes one pair: "
        f"\"{key}='{value}'\""
    )


def _explain_word(word: str, error: Exception, before: DictConfig | Exception, folder: str | None) -> str:
    key, value = _key(word), word.partition("=")[2]
    if key in GROUPS:
        choices, typed = _choices(key, folder), "encoder" if word.startswith(SHORT["encoder"]) else key
        close = difflib.get_close_matches(value, choices, n=3)
        suggestion = f"Did you mean {' or '.join(f'{typed}={choice}' for choice in close)}?"
        return f"There is no {typed}={value}. " + (
            suggestion if close else f"There are: {', '.join(choices)}."
        )
    known = list(_keys(before)) if isinstance(before, DictConfig) else []
    if known and key not in known:
        return _unknown_setting(key, known)
    said = f"{error} {error.__cause__}"
    kind = re.search(r"could not be converted to (\w+)", said)
    if kind:
        return f"{key} must be {_TYPE_NAMES.get(kind[1], kind[1])}, not {value}"
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
    return f"{word} cannot be used: {_one_line(error)}"


def _explain_other_method(key: str, before: DictConfig | Exception) -> str:
    """Return that the chosen method lacks a setting that others have, or "" where something else is wrong."""
    group, _, setting = key.rpartition(".")
    if group not in ("", "method") or isinstance(before, Exception):
        return ""
    if any(name == key or (not group and name.endswith(f".{setting}")) for name in _keys(before)):
        return ""
    files = {word: _composed(f"method/{word}", []) for word in _choices("method", None)}
    methods = [word for word, one in files.items() if isinstance(one, DictConfig) and setting in one.method]
    if not methods:
        return ""
    return (
        f"There is no setting {key!r} in the method chosen; choose one that has method.{setting}: "
        f"method={', '.join(methods)}"
    )


def _unknown_setting(key: str, known: Sequence[str], advice: str = "") -> str:
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


def _key(word: str) -> str:
    return re.split(r"[=@]", word.lstrip("+~"), maxsplit=1)[0]


def _one_line(error: Exception) -> str:
    """Return an error's message in one line, without pointers to documentation."""
    message = " ".join(f"{error} {error.__cause__ or ''}".split())
    return re.split(r" full_key:| See https| Config search path:", message)[0].strip()


def _choices(group: str, folder: str | None) -> list[str]:
    """Return the choices of a group: the project's own, and those of a further folder."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        own = GlobalHydra.instance().config_loader().get_group_options(group)
    files = [] if folder is None else Path(folder, group).glob("*.yaml")
    return sorted({*own, *(path.stem for path in files)})


def _composed(config_name: str, overrides: Sequence[str]) -> DictConfig | Exception:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        try:
            return compose(config_name, list(overrides))
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            return error


def _keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in map(str, node):
        name = f"{prefix}{key}"
        yield name
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            yield from _keys(child, f"{name}.")
