"""What an earlier run was made of, from the configuration in its folder, which somebody else may have put there."""

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
from weakspot.config import CONFIGS, build, class_of, dataset_own_settings, model_own_settings
from weakspot.launch import CONFIG

if TYPE_CHECKING:
    from weakspot.app.media import Parts
    from weakspot.models.base import Model
    from weakspot.tasks import Task

_TORCHVISION = "weakspot.models.torchvision.TorchvisionModel"
_USERS = "weakspot.models.user.UserModel"
_Maker = type | FunctionType
_MOST_BYTES = 1 << 18  # of a configuration; OmegaConf takes 0.2 ms for each value
_ANCHOR = re.compile(
    r"(?:^|[\s\[\]{},:?])&[\w-]"
)  # of YAML: nine lines of references make a thousand million values
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def parts_of(folder: Path, trust: Collection[str] = (), root: str | None = None) -> Parts:
    """The dataset and the model of a run, to be built.

    A configuration can name any function and have it called, so only datasets and models of ours are built, from plain
    values, and nothing is downloaded; of others those that are written in modules which a person has named.

    Args:
        folder: Of the run.
        trust: Modules, with all that is in them, whose classes may be built as well. They are found as discover.py
            finds them: installed, or in the working directory.
        root: The folder in which the data lie now.

    Raises:
        ValueError: If the run was given predictions, or its data are neither ours nor trusted; of the model when that
            is asked for.
        FileNotFoundError: If it has no configuration.
    """
    from weakspot.app.media import Parts

    config = _read(folder)
    if any(config.get(word) for word in ("predictions", "tree", "compare")):
        raise ValueError("This run was given its predictions, so neither data nor model are at hand.")
    dataset = _checked(config.get("dataset"), "dataset", trust)
    if root is not None and dataset.get("root") is not None:
        dataset.root = _moved(str(dataset.root), root)
    makes = build(dataset_own_settings(dataset), "dataset", {"split"})

    def model(task: Task) -> Model:  # checked when it is asked for: without it there are images all the same
        settings = _checked(config.get("model"), "model", trust)
        made: Model = build(model_own_settings(settings), "model", positional=1)(task)
        return made

    return Parts(lambda split: makes(split=split), model)


def check_trusted(modules: Collection[str]) -> None:
    """Raise ValueError for what is no module of anybody's own: whoever trusts Python's own ones trusts any program."""
    for module in modules:
        if not _MODULE.fullmatch(module):
            raise ValueError(
                f"trust={module} is no module: write it as it is imported, trust=[package.module]"
            )
        if _comes_along(module):
            raise ValueError(
                f"trust={module} is a module that comes with Python or weakspot, with functions that do anything: name "
                "the module in which your dataset or network is written"
            )


def _moved(before: str, root: str) -> str:
    """Where data lie now: in the folder that was named, or in the one of their old name there."""
    name = Path(before).name
    inside = Path(root, name)
    return str(inside if name not in ("", "..") and inside.is_dir() else root)


def _read(folder: Path) -> dict[str, Any]:
    file = folder / CONFIG
    if not file.resolve().is_relative_to(folder.resolve()) or not file.is_file():
        raise FileNotFoundError(f"{folder} keeps no {CONFIG}, by which its data could be found.")
    try:
        if file.stat().st_size > _MOST_BYTES or _ANCHOR.search(file.read_text(encoding="utf-8")):
            raise ValueError("no run of weakspot writes so much, or parts that are repeated by reference")
        found = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    except Exception as error:  # of anyone's YAML
        raise ValueError(f"{file} cannot be read.") from error
    if not isinstance(found, dict):
        raise ValueError(f"{file} is no configuration.")
    return {str(key): value for key, value in found.items()}


def _checked(node: Any, key: str, trust: Collection[str]) -> DictConfig:
    """Settings of a class that may be built; they call nothing and look nothing up."""
    if not isinstance(node, dict):
        raise ValueError(f"The run's configuration names no {key}.")
    settings = {str(name): value for name, value in node.items()}
    _check_plain({name: value for name, value in settings.items() if name != "_target_"}, key)
    target = str(settings.get("_target_"))
    if target == _USERS:
        _check_trusted(str(settings.get("path")), ":", _network, key, trust)
    elif target not in _targets(key):
        _check_trusted(target, ".", _dataset if key == "dataset" else _model, key, trust)
    if "download" in settings:
        settings["download"] = False
    return OmegaConf.create(settings)


def _check_trusted(
    named: str, parting: str, found: Callable[[str], _Maker | None], key: str, trust: Collection[str]
) -> None:
    """Raise ValueError unless something that makes a dataset or a network is written in a module that is trusted.

    What a module has merely imported is not: `mine.os.system` is no function of `mine`. Nothing is imported before
    its module is known to be trusted.

    Args:
        named: The import path.
        parting: What stands in it between a module and a name.
        found: What is there; None where it makes neither.
        key: dataset or model.
        trust: Modules, with all that is in them.
    """
    module = named.rpartition(parting)[0]
    said = f"The run's {key} {named[:100]} is none of those that come with weakspot, so it is not built"
    if not _MODULE.fullmatch(module) or _comes_along(module):
        raise ValueError(f"{said}.")
    if not _within(module, trust):
        raise ValueError(
            f"{said}: that would run its code. If it is your own, start browse.py trust=[{module}]."
        )
    maker = found(named)
    if maker is None or not _within(str(maker.__module__), trust):
        raise ValueError(f"{said}: nothing that makes a {key} and is written in {module} has this name.")


def _network(named: str) -> _Maker | None:
    from torch.nn import Module

    from weakspot.models.user import imported

    found: object = imported(named)
    return found if isinstance(found, FunctionType) else _a(Module, found)


def _dataset(named: str) -> _Maker | None:
    from weakspot.datasets.base import Dataset

    plugins.make_working_directory_importable()
    return _a(Dataset, class_of(named, "dataset"))


def _model(named: str) -> _Maker | None:
    from weakspot.models.base import Model

    plugins.make_working_directory_importable()
    return _a(Model, class_of(named, "model"))


def _a(kind: type, found: object) -> type | None:
    return found if isinstance(found, type) and issubclass(found, kind) else None


def _comes_along(module: str) -> bool:
    """Whether it is of Python's own library, or of ours."""
    return module.partition(".")[0] in sys.stdlib_module_names | {"weakspot"}


def _within(module: str, trust: Collection[str]) -> bool:
    return any(module == one or module.startswith(f"{one}.") for one in trust)


def _check_plain(value: Any, key: str) -> None:
    names: list[Any] = []
    if isinstance(value, dict):
        names = list(value)
        for inner in value.values():
            _check_plain(inner, key)
    elif isinstance(value, list):
        for inner in value:
            _check_plain(inner, key)
    if any(str(name).startswith("_") for name in names) or (isinstance(value, str) and "${" in value):
        raise ValueError(f"The run's {key} is not made of plain values, so it is not built.")


@cache
def _targets(group: str) -> frozenset[str]:
    files = [file for file in (CONFIGS / group).glob("*.yaml") if file.stem != "module"]
    found = (OmegaConf.load(file) for file in files)
    nodes = (node.get("dataset", node) for node in found if isinstance(node, DictConfig))
    return frozenset(
        {str(node.get("_target_")) for node in nodes} | ({_TORCHVISION} if group == "model" else set())
    )
