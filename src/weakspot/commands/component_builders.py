"""Builds the dataset and the model of an earlier run from its configuration, which is not trusted."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from weakspot import plugins
from weakspot.config.build import build, dataset_own_settings, import_target, model_own_settings
from weakspot.config.choices import CONFIGS
from weakspot.launch.run_folders import CONFIG

if TYPE_CHECKING:
    from weakspot.app.loaded_runs import LoadedRun
    from weakspot.app.run_components import ComponentBuilders
    from weakspot.app.run_index import RunIndex
    from weakspot.app.run_previews import RunPreviews
    from weakspot.tasks import Task

_TORCHVISION = "weakspot.models.torchvision.TorchvisionModel"
_USER_MODEL = "weakspot.models.user.UserModel"
_Factory = type | FunctionType
_MOST_BYTES = 1 << 18  # the largest configuration that is read; OmegaConf takes 0.2 ms per value
# a YAML anchor: nine lines of references can make a billion values
_ANCHOR = re.compile(r"(?:^|[\s\[\]{},:?])&[\w-]")
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def run_previews(
    loaded: LoadedRun, runs: RunIndex, trust: Collection[str] = (), root: str | None = None
) -> RunPreviews:
    """Return the previews of a run's examples: from its dataset and model, or from the predictions it was given.

    Args:
        loaded: The run.
        runs: The runs of the explorer.
        trust: Modules whose classes may be built as well; see `component_builders`.
        root: The folder that holds the data now.

    Raises:
        ValueError: If the run has neither, or its dataset may not be built.
        FileNotFoundError: If the run has no configuration.
    """
    from weakspot.app.given_previews import GivenPreviews
    from weakspot.app.run_components import RunComponents

    if _read_config(loaded.run.folder).get("predictions"):
        return GivenPreviews(loaded, None if root is None else Path(root))
    return RunComponents(loaded, component_builders(loaded.run.folder, trust, root), runs)


def component_builders(
    folder: Path, trust: Collection[str] = (), root: str | None = None
) -> ComponentBuilders:
    """Return the functions that build the dataset and the model of a run.

    A configuration can name any function and have it called. Therefore only weakspot's own datasets and models, and
    those of modules that the user trusts, are built, from plain values and without downloads.

    Args:
        folder: The run's folder.
        trust: Modules whose classes may be built as well, with all modules below them. They are found as discover.py
            finds them: installed, or in the working directory.
        root: The folder that holds the data now.

    Returns:
        The builders; the model's raises ValueError if the model may not be built.

    Raises:
        ValueError: If the run has no dataset, or its dataset is neither weakspot's own nor trusted.
        FileNotFoundError: If the run has no configuration.
    """
    from weakspot.app.run_components import ComponentBuilders
    from weakspot.datasets import Dataset
    from weakspot.models import Model

    config = _read_config(folder)
    if config.get("tree") or config.get("compare"):
        raise ValueError(
            "This run shows a tree or compares two other runs, so it has neither data nor a model."
        )
    dataset = _checked_settings(config.get("dataset"), "dataset", trust)
    if root is not None and dataset.get("root") is not None:
        dataset.root = _moved_root(str(dataset.root), root)
    build_dataset = build(dataset_own_settings(dataset), "dataset", {"split"}, kind=Dataset)

    def model(task: Task) -> Model:  # checked when it is needed: images are shown without it
        settings = _checked_settings(config.get("model"), "model", trust)
        model: Model = build(model_own_settings(settings), "model", positional=1, kind=Model)(task)
        return model

    return ComponentBuilders(lambda split: build_dataset(split=split), model)


def check_trusted_modules(modules: Collection[str]) -> None:
    """Check the modules that a user trusts.

    Raises:
        ValueError: If one is not a module of the user's own: trusting Python's modules would allow any code to run.
    """
    for module in modules:
        if not _MODULE.fullmatch(module):
            raise ValueError(
                f"trust={module} is not a module: write it as it is imported, trust=[package.module]"
            )
        if _is_standard_module(module):
            raise ValueError(
                f"trust={module} is a module that comes with Python or weakspot, whose functions can do anything: name "
                "the module that defines your dataset or network"
            )


def _moved_root(old_root: str, root: str) -> str:
    """Return the folder that holds the data now: the given one, or a subfolder of it that has their old name."""
    name = Path(old_root).name
    inside = Path(root, name)
    return str(inside if name not in ("", "..") and inside.is_dir() else root)


def _read_config(folder: Path) -> dict[str, Any]:
    file = folder / CONFIG
    if not file.resolve().is_relative_to(folder.resolve()) or not file.is_file():
        raise FileNotFoundError(f"{folder} holds no {CONFIG}, which would name its data.")
    try:
        if file.stat().st_size > _MOST_BYTES or _ANCHOR.search(file.read_text(encoding="utf-8")):
            raise ValueError("weakspot writes neither so large a file nor references")
        config = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    except Exception as error:  # the YAML may hold anything
        raise ValueError(f"{file} cannot be read.") from error
    if not isinstance(config, dict):
        raise ValueError(f"{file} is not a configuration.")
    return {str(key): value for key, value in config.items()}


def _checked_settings(node: Any, key: str, trust: Collection[str]) -> DictConfig:
    """Return the settings of a class that may be built, without calls or interpolations."""
    if not isinstance(node, dict):
        raise ValueError(f"The run's configuration names no {key}.")
    settings = {str(name): value for name, value in node.items()}
    _check_plain({name: value for name, value in settings.items() if name != "_target_"}, key)
    target = str(settings.get("_target_"))
    if target == _USER_MODEL:
        _check_import_trusted(str(settings.get("path")), ":", _find_network, key, trust)
    elif target not in _own_targets(key):
        _check_import_trusted(target, ".", _find_dataset if key == "dataset" else _find_model, key, trust)
    if "download" in settings:
        settings["download"] = False
    return OmegaConf.create(settings)


def _check_import_trusted(
    import_path: str, separator: str, find: Callable[[str], _Factory | None], key: str, trust: Collection[str]
) -> None:
    """Check that a dataset or a network is defined in a trusted module.

    What a module has merely imported does not count: `mine.os.system` is not a function of `mine`. Nothing is
    imported before its module is known to be trusted.

    Args:
        import_path: The import path.
        separator: The character between module and name in it.
        find: Imports what the path names; returns None if that makes neither a dataset nor a network.
        key: dataset or model.
        trust: The trusted modules.

    Raises:
        ValueError: If it is not.
    """
    module = import_path.rpartition(separator)[0]
    refusal = f"The run's {key} {import_path[:100]} does not come with weakspot, so it is not built"
    if not _MODULE.fullmatch(module) or _is_standard_module(module):
        raise ValueError(f"{refusal}.")
    if not _is_below_any(module, trust):
        raise ValueError(
            f"{refusal}: that would run its code. If it is your own, start browse.py trust=[{module}]."
        )
    factory = find(import_path)
    if factory is None or not _is_below_any(str(factory.__module__), trust):
        raise ValueError(f"{refusal}: {module} does not define anything of this name that makes a {key}.")


def _find_network(import_path: str) -> _Factory | None:
    from torch.nn import Module

    from weakspot.models.user import imported

    network: object = imported(import_path)
    return network if isinstance(network, FunctionType) else _subclass_or_none(Module, network)


def _find_dataset(import_path: str) -> _Factory | None:
    from weakspot.datasets.base import Dataset

    plugins.make_working_directory_importable()
    return _subclass_or_none(Dataset, import_target(import_path, "dataset"))


def _find_model(import_path: str) -> _Factory | None:
    from weakspot.models.base import Model

    plugins.make_working_directory_importable()
    return _subclass_or_none(Model, import_target(import_path, "model"))


def _subclass_or_none(kind: type, candidate: object) -> type | None:
    return candidate if isinstance(candidate, type) and issubclass(candidate, kind) else None


def _is_standard_module(module: str) -> bool:
    """Return whether a module belongs to Python's standard library, or to weakspot."""
    return module.partition(".")[0] in sys.stdlib_module_names | {"weakspot"}


def _is_below_any(module: str, trust: Collection[str]) -> bool:
    return any(module == trusted or module.startswith(f"{trusted}.") for trusted in trust)


def _check_plain(value: Any, key: str) -> None:
    names: list[Any] = []
    if isinstance(value, dict):
        names = list(value)
        for element in value.values():
            _check_plain(element, key)
    elif isinstance(value, list):
        for element in value:
            _check_plain(element, key)
    if any(str(name).startswith("_") for name in names) or (isinstance(value, str) and "${" in value):
        raise ValueError(f"The run's {key} is not made of plain values, so it is not built.")


@cache
def _own_targets(group: str) -> frozenset[str]:
    files = [file for file in (CONFIGS / group).glob("*.yaml") if file.stem != "module"]
    configs = (OmegaConf.load(file) for file in files)
    nodes = (node.get("dataset", node) for node in configs if isinstance(node, DictConfig))
    return frozenset(
        {str(node.get("_target_")) for node in nodes} | ({_TORCHVISION} if group == "model" else set())
    )
