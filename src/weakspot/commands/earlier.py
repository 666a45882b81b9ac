"""What an earlier run was made of, from the configuration in its folder, which somebody else may have put there."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from weakspot.config import CONFIGS, build, dataset_alone, model_alone
from weakspot.launch import CONFIG

if TYPE_CHECKING:
    from weakspot.app.media import Parts

_TORCHVISION = "weakspot.models.torchvision.TorchvisionModel"


def parts_of(folder: Path) -> Parts:
    """The dataset and the model of a run, to be built.

    A configuration can name any function and have it called, so only datasets and models of ours are built, from plain
    values, and nothing is downloaded.

    Raises:
        ValueError: Where the run was given predictions, or its data or model are not ours.
        FileNotFoundError: Where it has no configuration.
    """
    from weakspot.app.media import Parts

    config = _read(folder)
    if any(config.get(word) for word in ("predictions", "tree", "compare")):
        raise ValueError("This run was given its predictions, so neither data nor model are at hand.")
    dataset, model = (_checked(config.get(key), key) for key in ("dataset", "model"))
    makes = build(dataset_alone(dataset), "dataset", {"split"})
    return Parts(lambda split: makes(split=split), build(model_alone(model), "model", positional=1))


def _read(folder: Path) -> dict[str, Any]:
    file = folder / CONFIG
    if not file.resolve().is_relative_to(folder.resolve()) or not file.is_file():
        raise FileNotFoundError(f"{folder} keeps no {CONFIG}, by which its data could be found.")
    try:
        found = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    except Exception as error:  # of anyone's YAML
        raise ValueError(f"{file} cannot be read.") from error
    if not isinstance(found, dict):
        raise ValueError(f"{file} is no configuration.")
    return {str(key): value for key, value in found.items()}


def _checked(node: Any, key: str) -> DictConfig:
    """Settings of a class of ours that runs nobody else's code; they call nothing and look nothing up."""
    if not isinstance(node, dict):
        raise ValueError(f"The run's configuration names no {key}.")
    settings = {str(name): value for name, value in node.items()}
    _check_plain({name: value for name, value in settings.items() if name != "_target_"}, key)
    if settings.get("_target_") not in _targets(key):
        raise ValueError(
            f"The run's {key} is none of those that come with weakspot, so it is not built here."
        )
    if "download" in settings:
        settings["download"] = False
    return OmegaConf.create(settings)


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
