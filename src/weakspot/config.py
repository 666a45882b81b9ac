"""The configuration: what Hydra composes it from, and how objects are built from it.

Only names and types stand here and in what this imports, so that composing a configuration imports neither torch nor
transformers.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.utils import instantiate
from omegaconf import (
    MISSING,
    AnyNode,
    BooleanNode,
    DictConfig,
    IntegerNode,
    OmegaConf,
    StringNode,
)

from weakspot import plugins
from weakspot.arguments import check_arguments
from weakspot.manual import help_for_choices, help_for_plugin_settings, help_for_settings, help_for_words
from weakspot.models.names import NAMES
from weakspot.schemas import BrowseConfig, JobConfig, SpotlightConfig, UDISConfig

_PREFERENCES = {"spotlight_size", "checkpoint", "weights", "hide", "group"}
"""Settings of a dataset that others read: a method or a model through `${preferred:…}`, the tests and descriptions of
slices directly (`group`, `hide`)."""


# Open to further keys of a subclass's own, yet typed where every dataset, model or trainer has the key;
# Hydra's struct mode still refuses keys that no file has set.
_DATASET = {
    "_target_": StringNode(MISSING),
    "root": StringNode(None),
    "spotlight_size": AnyNode(None),
    "checkpoint": StringNode(None),
    "weights": StringNode(None),
    "hide": AnyNode(None),  # attributes that restate the target
    "group": StringNode(None),  # an attribute whose examples stay on one side when slices are tested
}
_MODEL = {
    "_target_": StringNode(MISSING),
    "embed_layer": StringNode(None),  # gives the embedding; else it is the last layer's input
}
_WEIGHTS = {"weights": "${preferred:weights,null}", "download": False, "cam_layer": None}
_TRAINER = {
    "_target_": StringNode("pytorch_lightning.Trainer"),
    "accelerator": StringNode("auto"),
    "devices": AnyNode("auto"),
    "strategy": StringNode("auto"),
    "num_nodes": IntegerNode(1),
    "precision": StringNode("32-true"),
    "accumulate_grad_batches": IntegerNode(1),
    "limit_train_batches": AnyNode(None),
    "val_check_interval": AnyNode(None),
    "deterministic": BooleanNode(False),
    "sync_batchnorm": BooleanNode(False),
    "enable_progress_bar": BooleanNode(True),
    "enable_model_summary": BooleanNode(False),
}


class PluginFolders(SearchPathPlugin):
    """Lets Hydra find the files of plug-ins, after the project's own."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in plugins.folders():
            search_path.append(provider=folder.origin, path=f"file://{folder.path}")


def register() -> None:
    """Register schemas, torchvision's models, resolvers and plug-ins with Hydra, once, before it composes."""
    Plugins.instance().register(PluginFolders)
    store = ConfigStore.instance()
    store.store(name="job_schema", node=JobConfig)
    store.store(name="browse_schema", node=BrowseConfig)
    store.store(group="schema/method", name="spotlight", node=SpotlightConfig)
    store.store(group="schema/method", name="udis", node=UDISConfig)
    store.store(group="schema/dataset", name="base", node=_DATASET)
    store.store(group="schema/model", name="base", node=_MODEL)
    store.store(group="schema/trainer", name="base", node=_TRAINER)
    for name in NAMES:
        target = "weakspot.models.torchvision.TorchvisionModel"
        node = {"_target_": target, "name": name, "embed_layer": None} | _WEIGHTS
        store.store(group="model", name=name, node=node)
    OmegaConf.register_new_resolver("choices", help_for_choices, replace=True)
    OmegaConf.register_new_resolver("words", help_for_words, replace=True)
    OmegaConf.register_new_resolver("settings", help_for_settings, replace=True)
    OmegaConf.register_new_resolver("plugin_settings", help_for_plugin_settings, replace=True)
    OmegaConf.register_new_resolver("preferred", _preferred_setting, replace=True)
    OmegaConf.register_new_resolver("run_name", _run_name, replace=True)


def build(
    node: DictConfig, key: str | None = None, later: Collection[str] = (), positional: int = 0
) -> Callable[..., Any]:
    """Return the class or function that a group's choice names, with its settings, ready to be called.

    Library code receives plain lists and mappings, never a DictConfig.

    Args:
        node: The settings, with the import path `_target_`.
        key: The prefix of the settings on the command line; by default the position of the node.
        later: Names of the arguments that the caller gives.
        positional: How many positional arguments the caller gives.

    Raises:
        ImportError: The import path cannot be imported.
        ValueError: The target takes no such setting, or one of another type.
    """
    settings, key = plain_values(node), key or node._get_full_key("")
    target = settings.pop("_target_")
    arguments = check_arguments(class_of(target, key), settings, key, later, positional)
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
    function = class_of(target, key)
    return function(**check_arguments(function, settings, key))


def class_of(target: str, key: str) -> Callable[..., Any]:
    """Return the class or function of an import path."""
    try:
        function: Callable[..., Any] = pkgutil.resolve_name(target)
    except (ImportError, AttributeError, ValueError) as error:
        raise ImportError(
            f"{key}._target_={target} cannot be imported ({error}); install it, or put its file into the folder in "
            "which the command runs"
        ) from error
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


def _run_name(*, _root_: DictConfig) -> str:
    """Return the name of a run's folder: the method, and the dataset's word or the name of the predictions' file."""
    chosen = _root_.hydra.runtime.choices
    if _root_.get("tree"):
        return f"udis-{Path(_root_.tree).stem}"
    if _root_.get("compare"):
        return "compare"
    given, what = _root_.get("predictions"), "slices" if _root_.get("slices") else chosen.method
    return f"{what}-{Path(given).stem if given else chosen.dataset}"


def _preferred_setting(setting: str, otherwise: Any, *, _root_: DictConfig) -> Any:
    """Return the value that the dataset prefers for another's setting, unless predictions come from a file."""
    value = None if _root_.get("predictions") else _root_.dataset.get(setting)
    return otherwise if value is None else value
