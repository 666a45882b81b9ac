"""Builds the classes and functions that a configuration names, with its settings."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from weakspot.arguments import check_arguments
from weakspot.config.schemas import DATASET

_SETTINGS_READ_BY_OTHERS = DATASET.keys() - {"_target_", "root"}
"""Settings of a dataset that its class does not take: methods and models read them through `${preferred:…}`, and the
tests and descriptions of slices read `group` and `hide`."""


def build(
    node: DictConfig,
    key: str | None = None,
    passed_later: Collection[str] = (),
    positional: int = 0,
    *,
    kind: type = object,
) -> Callable[..., Any]:
    """Return the class or function that a group's choice names, with its settings, ready to be called.

    Library code receives plain lists and mappings, never a DictConfig.

    Args:
        node: The settings, with the import path `_target_`.
        key: The prefix of the settings on the command line; by default the node's own key.
        passed_later: Names of the arguments that the caller gives.
        positional: How many positional arguments the caller gives.
        kind: What a class must inherit from, such as `Method`.

    Raises:
        ImportError: If the import path cannot be imported.
        ValueError: If the target is of another kind, or does not take a setting or its type.
    """
    settings, key = plain_values(node), key or node._get_full_key("")
    target = settings.pop("_target_")
    function = import_target(target, key)
    if isinstance(function, type) and not issubclass(function, kind):
        package = ".".join(kind.__module__.split(".")[:2])
        raise ValueError(
            f"{key}._target_={target} must be a class that inherits from {package}.{kind.__name__}"
        )
    arguments = check_arguments(function, settings, key, passed_later, positional)
    resolved = OmegaConf.create({"_target_": target, **arguments})
    maker: Callable[..., Any] = instantiate(resolved, _partial_=True, _convert_="all")
    return maker


def build_when_called(node: DictConfig) -> Callable[..., Any]:
    """Return the same as `build`, but import the target and check its settings only when it is called.

    Importing Lightning takes seconds, and the object may never be needed.
    """
    settings = plain_values(node)
    target, key = settings.pop("_target_"), node._get_full_key("")
    return partial(_build_and_call, target, key, **instantiate(OmegaConf.create(settings), _convert_="all"))


def _build_and_call(target: str, key: str, /, **settings: Any) -> Any:
    function = import_target(target, key)
    return function(**check_arguments(function, settings, key))


def import_target(target: str, key: str) -> Callable[..., Any]:
    """Return the class or function of an import path.

    Raises:
        ImportError: If it cannot be imported.
        ValueError: If it is neither a class nor a function.
    """
    if ":" in target:
        raise ValueError(f"{key}._target_={target} must be written with dots only: package.module.Class")
    try:
        function: Callable[..., Any] = pkgutil.resolve_name(target)
    except AttributeError as error:
        raise ImportError(
            f"{key}._target_={target} cannot be imported ({error}); is its name spelt correctly?"
        ) from error
    except (ImportError, ValueError) as error:
        raise ImportError(
            f"{key}._target_={target} cannot be imported ({error}); install it, or put its file into the folder in "
            "which the command runs"
        ) from error
    if not (isinstance(function, type) or inspect.isroutine(function)):
        raise ValueError(f"{key}._target_={target} is neither a class nor a function")
    return function


def dataset_own_settings(node: DictConfig) -> DictConfig:
    """Return a dataset's resolved settings without those that its class does not take."""
    return OmegaConf.create(
        {key: value for key, value in node.items() if key not in _SETTINGS_READ_BY_OTHERS}
    )


def model_own_settings(node: DictConfig) -> DictConfig:
    """Return a model's resolved settings without the layer of its embeddings, which does not affect its weights."""
    return OmegaConf.create({key: value for key, value in node.items() if key != "embed_layer"})


def plain_values(node: DictConfig) -> dict[str, Any]:
    """Return a configuration, resolved, as plain values."""
    values: Any = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    return {str(key): value for key, value in values.items()}
