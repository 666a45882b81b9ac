"""How the classes and functions that a configuration names are built with its settings."""

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

_PREFERENCES = DATASET.keys() - {"_target_", "root"}
"""Settings of a dataset that others read: a method or a model through `${preferred:…}`, the tests and descriptions of
slices directly (`group`, `hide`)."""


def build(
    node: DictConfig,
    key: str | None = None,
    later: Collection[str] = (),
    positional: int = 0,
    *,
    kind: type = object,
) -> Callable[..., Any]:
    """Return the class or function that a group's choice names, with its settings, ready to be called.

    Library code receives plain lists and mappings, never a DictConfig.

    Args:
        node: The settings, with the import path `_target_`.
        key: The prefix of the settings on the command line; by default the position of the node.
        later: Names of the arguments that the caller gives.
        positional: How many positional arguments the caller gives.
        kind: What a class must inherit from, such as `Method`.

    Raises:
        ImportError: The import path cannot be imported.
        ValueError: The target is of another kind, or takes no such setting, or one of another type.
    """
    settings, key = plain_values(node), key or node._get_full_key("")
    target = settings.pop("_target_")
    function = import_target(target, key)
    if isinstance(function, type) and not issubclass(function, kind):
        package = ".".join(kind.__module__.split(".")[:2])
        raise ValueError(
            f"{key}._target_={target} must be a class that inherits from {package}.{kind.__name__}"
        )
    arguments = check_arguments(function, settings, key, later, positional)
    resolved = OmegaConf.create({"_target_": target, **arguments})
    maker: Callable[..., Any] = instantiate(resolved, _partial_=True, _convert_="all")
    return maker


def build_when_called(node: DictConfig) -> Callable[..., Any]:
    """Return the same as `build`, but import the target and check its settings in the call.

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
        ImportError: It cannot be imported.
        ValueError: It is neither a class nor a function.
    """
    if ":" in target:
        raise ValueError(f"{key}._target_={target} must be written with dots alone: package.module.Class")
    try:
        function: Callable[..., Any] = pkgutil.resolve_name(target)
    except AttributeError as error:
        raise ImportError(
            f"{key}._target_={target} cannot be imported ({error}); is its name spelt so?"
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
    """Return a dataset's resolved settings without those that others read."""
    return OmegaConf.create({key: value for key, value in node.items() if key not in _PREFERENCES})


def model_own_settings(node: DictConfig) -> DictConfig:
    """Return a model's resolved settings without the layer of its embeddings, which changes no weight."""
    return OmegaConf.create({key: value for key, value in node.items() if key != "embed_layer"})


def plain_values(node: DictConfig) -> dict[str, Any]:
    """Return a configuration, resolved, as plain values."""
    values: Any = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    return {str(key): value for key, value in values.items()}
