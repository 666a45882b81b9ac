"""What Hydra composes a configuration from: schemas, models' names, resolvers and the folders of plug-ins.

This module and its imports contain only names and types, so that composing a configuration imports neither torch nor
transformers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

from weakspot import plugins
from weakspot.config.manual import (
    help_for_choice_names,
    help_for_choices,
    help_for_chosen,
    help_for_settings,
    help_for_values,
)
from weakspot.config.schemas import (
    DATASET,
    MODEL,
    TRAINER,
    BrowseConfig,
    JobConfig,
    SpotlightConfig,
    UDISConfig,
)
from weakspot.models.names import NAMES

_TORCHVISION_SETTINGS = {"weights": "${preferred:weights,null}", "download": False, "cam_layer": None}


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
    store.store(group="schema/dataset", name="base", node=DATASET)
    store.store(group="schema/model", name="base", node=MODEL)
    store.store(group="schema/trainer", name="base", node=TRAINER)
    for name in NAMES:
        target = "weakspot.models.torchvision.TorchvisionModel"
        node = {"_target_": target, "name": name, "embed_layer": None} | _TORCHVISION_SETTINGS
        store.store(group="model", name=name, node=node)
    OmegaConf.register_new_resolver("choices", help_for_choices, replace=True)
    OmegaConf.register_new_resolver("choice_names", help_for_choice_names, replace=True)
    OmegaConf.register_new_resolver("settings", help_for_settings, replace=True)
    OmegaConf.register_new_resolver("values", help_for_values, replace=True)
    OmegaConf.register_new_resolver("chosen", help_for_chosen, replace=True)
    OmegaConf.register_new_resolver("preferred", _preferred_setting, replace=True)
    OmegaConf.register_new_resolver("run_name", _run_name, replace=True)


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
    """Return the value that the dataset prefers for a method's or model's setting, unless predictions are given."""
    value = None if _root_.get("predictions") else _root_.dataset.get(setting)
    return otherwise if value is None else value
