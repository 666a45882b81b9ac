"""The choices of each group of the configuration: names of YAML files and of torchvision's models."""

from __future__ import annotations

from pathlib import Path

from weakspot import plugins
from weakspot.models.names import NAMES

_PACKAGE = Path(__file__).parents[1]
CONFIGS = next(
    folder for folder in (_PACKAGE / "configs", _PACKAGE.parents[1] / "configs") if folder.is_dir()
)
"""The folder of the YAML files, which is inside the package in a wheel and at the top level of a checkout."""

GROUPS = ("dataset", "model", "method", "trainer", "logger", "experiment")


def own_choices(group: str) -> set[str]:
    """Return the choices of a group that come with the project."""
    return {file.stem for file in (CONFIGS / group).glob("*.yaml")} | (
        {*NAMES} if group == "model" else set()
    )


def all_choices(group: str) -> list[str]:
    """Return the choices of a group, the project's and those of plug-ins, in alphabetical order."""
    return sorted(own_choices(group) | plugins.choices(group).keys())
