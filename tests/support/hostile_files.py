"""Configuration files of plug-ins, of methods and of experiments: composed as a run would, without running anything."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from mutations import Format
from weakspot.config.compose import register
from weakspot.launch.setting_checks import check_settings
from weakspot.launch.setting_errors import NOT_COMPOSED, check_file, explain_file

_FILE = """# @package method
# Balls around examples of high loss.
defaults:
  - base
  - _self_
_target_: ball.Ball
n_slices: 5  # at most
radius: 0.25
seed: ${method.n_slices}
layers: [conv1, "conv 2", {name: fc, width: 1e3}]
note: >-
  Two lines
  of text.
weights: &weights {first: 1, second: null}
again: *weights
"""


def make_file(folder: Path) -> Path:
    register()
    (folder / "base.yaml").write_text("# @package method\n_target_: ball.Base\ncosine: false\n")
    file = folder / "mine.yaml"
    file.write_text(_FILE)
    return file


def read_file(file: Path) -> DictConfig:
    """Compose a method's file by itself; raise ValueError with the sentence where it is refused."""
    warnings.filterwarnings(
        "ignore", "In '.*': Defaults list is missing `_self_`"
    )  # Hydra's advice, which is sound
    check_file(file)
    try:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(file.parent), version_base="1.3"):
            config = compose(file.stem)
        check_settings(config, [])
        OmegaConf.to_container(config, resolve=True)
    except NOT_COMPOSED as error:
        raise ValueError(explain_file(file, error)) from None
    return config


def use_config(config: DictConfig) -> None:
    settings: Any = OmegaConf.to_container(config, resolve=True)
    for key in ("method", "model", "dataset"):
        assert isinstance(settings.get(key, {"_target_": ""})["_target_"], str)


CONFIGURATIONS = {"configuration files": Format(make_file, read_file, use_config)}
