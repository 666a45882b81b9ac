"""The datasets below the data folder, found by opening their files with the datasets themselves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from weakspot.config.build import build, dataset_own_settings
from weakspot.config.choices import CONFIGS
from weakspot.config.compose import register

SPLIT = "test"
"""The split that is opened, which is the smallest in most datasets."""

_ROOT = "${oc.env:DATA_DIR,data}"


@dataclass(frozen=True)
class DataFolder:
    """A dataset, and what was found in its folder.

    Attributes:
        dataset: Its name on the command line.
        root: The folder in which its files are looked for.
        examples: How many examples its test split holds; None if it cannot be opened.
        problem: Why it cannot be opened; empty if it can, or if none of its files exist.
    """

    dataset: str
    root: Path
    examples: int | None = None
    problem: str = ""


def data_root() -> Path:
    """Return the folder in which the datasets' files are looked for: `$DATA_DIR`, or `data`."""
    return Path(os.environ.get("DATA_DIR") or "data")


def data_folders() -> Iterator[DataFolder]:
    """Open the test split of every dataset that has files, and yield what was found.

    Labels and tables are read, images are not. A dataset whose folder is missing costs nothing.
    """
    register()
    for file in sorted((CONFIGS / "dataset").glob("*.yaml")):
        node: Any = OmegaConf.load(file)
        root = OmegaConf.to_container(node.dataset, resolve=False).get("root")  # type: ignore[union-attr]
        # digits come with scikit-learn; tables and datasets of the hub are named on the command line
        if isinstance(root, str) and root.startswith(_ROOT) and "name" not in node.dataset:
            yield _open(file.stem, data_root() / root.removeprefix(_ROOT).lstrip("/"))


def _open(dataset: str, root: Path) -> DataFolder:
    if not root.is_dir():
        return DataFolder(dataset, root)
    try:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            cfg = compose("discover", [f"dataset={dataset}"])
        found = build(dataset_own_settings(cfg.dataset), "dataset", {"split"})(split=SPLIT)
        found.check()
        return DataFolder(dataset, root, len(found))
    except Exception as error:  # any library that reads the files may raise any error
        # several datasets share the folder of all data, so a missing file there only means that the dataset is absent
        shared = root == data_root() and isinstance(error, FileNotFoundError)
        return DataFolder(dataset, root, problem="" if shared else " ".join(str(error).split()))
