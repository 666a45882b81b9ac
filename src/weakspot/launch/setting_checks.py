"""Checks of settings: each has a value and, once composed, an effect, and each choice has one file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass

from omegaconf import DictConfig, Node, OmegaConf

from weakspot.config.choices import GROUPS
from weakspot.launch.quoting import LIST_SETTINGS, key_of, parses, word_as_typed
from weakspot.launch.setting_errors import explain_clash, explain_unknown, is_swept, setting_names

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
            "task",
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
            "task",
            "method",
            "confirm",
            "stability",
            "export",
            "report",
        ),
        (),
    ),
    "slices": (
        "slices that already exist",
        ("experiment", "method", "stability"),
        (),
    ),
    "predictions": (
        "predictions that already exist",
        _SETTINGS_BEFORE_PREDICTIONS,
        ("dataset.group", "dataset.hide", "dataset.root"),
    ),
}
"""For each setting that names existing results: what these are, the keys that have no effect with it, and the
exceptions among them, as keys or whole settings."""


_SAME_IN_EVERY_RUN = re.compile(r"\$\{(hydra[.:]job\.name|(now|oc\.env):[^}]*)\}")
_LONE_COMMA = re.compile(r"(^|[\[,])\s*,|,\s*[\]}]|,\s*$")  # a comma without a value on one side


def check_values(words: Sequence[str], is_sweep: bool = False) -> None:
    """Raise ValueError for a key without a value, such as `predictions=$FILE` in a shell where FILE is not set.

    A missing value among several, as in `seed=1,,2`, is refused too, and so are `~method` and a setting of the runs'
    folder that has no effect or is one folder for all runs.

    Args:
        words: The settings that were typed.
        is_sweep: Whether commas separate the values of several runs.
    """
    _check_folder({key_of(word): word for word in words}, is_sweep)
    for word in words:
        key, equals, value = word.partition("=")
        if word.startswith("~") and key[1:] in GROUPS and key != "~experiment":
            raise ValueError(f"{word} cannot be used: choose one, {key[1:]}=…, without ~")
        if (equals and not value) or (value == "[]" and key_of(word) in _IGNORED_WITH):
            raise ValueError(f"{word} has no value: give it one, or leave it out")
        several = is_sweep or key in LIST_SETTINGS or value.startswith(("[", "{"))
        if several and _LONE_COMMA.search(value) and not parses(word):
            raise ValueError(
                f"{word} has a comma with no value beside it: leave the comma out, or add the value"
            )


def _check_folder(typed: Mapping[str, str], is_sweep: bool) -> None:
    """Raise ValueError for a run's folder in a sweep, for the reverse, and for one folder for all runs of a sweep."""
    taken, ignored = "hydra.run.dir", ["hydra.sweep.dir", "hydra.sweep.subdir"]
    if is_sweep:
        taken, ignored = "hydra.sweep.dir", ["hydra.run.dir"]
    for key in ignored:
        if key in typed and taken not in typed:
            other = "leave out -m" if is_sweep else "add -m"
            raise ValueError(
                f"{typed[key]} has no effect {'with' if is_sweep else 'without'} -m: write {taken}=…, or {other}"
            )
    subdir = typed.get("hydra.sweep.subdir")
    if subdir is None or not is_sweep or "${" in _SAME_IN_EVERY_RUN.sub("", subdir):
        return
    if any(parses(word) and is_swept(word) for word in typed.values()):
        raise ValueError(
            f"{subdir} is one folder for all runs, each of which would replace the one before: leave it out, or put "
            "${hydra.job.num} into it"
        )


def check_settings(config: DictConfig, words: Sequence[str]) -> None:
    """Raise ValueError for a setting that has no effect.

    That is a key with a + that no schema has, since Hydra accepts any, or a setting of a step that existing results
    replace.

    Args:
        config: The composed configuration.
        words: The words that were typed.
    """
    _check_targets(config, words)
    for key in _unknown_keys(config):
        raise ValueError(explain_unknown(key, list(setting_names(config)), "settings that exist need no +"))
    for given, (what, ignored, exceptions) in _IGNORED_WITH.items():
        if not config.get(given):
            continue
        for word in words:
            if key_of(word).split(".")[0] in ignored and not {word, key_of(word)} & set(exceptions):
                files = config[given] if isinstance(config[given], str) else ",".join(config[given])
                raise ValueError(
                    f"{word_as_typed(word)} has no effect on {what}: leave it out, or leave out {given}={files}"
                )


def check_choices(choices: Mapping[str, str | None]) -> None:
    """Raise ValueError for a choice that several files define, the project's or those of plug-ins.

    Args:
        choices: What is chosen for each group, as Hydra records it: `{"dataset": "digits", "model@encoder": None}`.
    """
    for group, word in choices.items():
        clash = explain_clash(group.partition("@")[0], word or "")
        if clash:
            raise ValueError(clash)


def _check_targets(config: DictConfig, words: Sequence[str]) -> None:
    """Raise ValueError for a choice whose file does not say which class or function it stands for."""
    typed = {key_of(word): word_as_typed(word) for word in words}
    for group in ("dataset", "model", "encoder", "method", "trainer", "logger"):
        node = config._get_node(group) if group in config else None
        if not isinstance(node, Node) or (group == "encoder" and node._is_none()):
            continue
        keys = [*node] if isinstance(node, DictConfig) and not node._is_none() else []
        if not all(isinstance(key, str) for key in keys):
            raise ValueError(f"{typed.get(group, group)}: its file has keys that are not text: {keys}")
        target = node._get_node("_target_") if isinstance(node, DictConfig) and "_target_" in keys else None
        if not isinstance(target, Node) or target._is_missing() or not isinstance(target._value(), str):
            raise ValueError(
                f"{typed.get(group, group)} names no class: its file needs a line _target_: module.Class, and a line "
                "name: value for each setting"
            )


def _unknown_keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    """Yield the keys that a schema does not have."""
    schema = OmegaConf.get_type(node)
    known = {field.name for field in fields(schema)} if is_dataclass(schema) else None
    for key in map(str, node):
        child = node._get_node(key)
        if known is not None and key not in known:
            yield from (
                [*(setting_names(child, f"{prefix}{key}.") if isinstance(child, DictConfig) else ())][-1:]
                or [f"{prefix}{key}"]
            )
        elif isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            yield from _unknown_keys(child, f"{prefix}{key}.")
