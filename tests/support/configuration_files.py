"""A plug-in method's configuration file that uses many features of YAML and Hydra, for the fuzz pass to damage."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mutations import Format
from weakspot.config.compose import register
from weakspot.launch.choice_files import check_file, explain_file
from weakspot.launch.job_errors import sentence_of
from weakspot.launch.setting_checks import check_settings

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
    """Compose a method's file by itself; a whole command line would take ten times as long.

    Raises:
        ValueError: if the file is refused, with the message that a user would see.
    """
    # Hydra's warning is justified, but not under test here
    warnings.filterwarnings("ignore", "In '.*': Defaults list is missing `_self_`")
    check_file(file)
    try:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(file.parent), version_base="1.3"):
            config = compose(file.stem)
    except Exception as error:
        raise ValueError(explain_file(file, error)) from None
    try:
        check_settings(config, ["method=mine"])
        OmegaConf.to_container(config, resolve=True)
    except (ValueError, OmegaConfBaseException) as error:
        sentence = sentence_of(error) or ""
        place = getattr(error, "full_key", None) or "method"  # the setting, or otherwise the choice
        if str(place) not in sentence and not sentence.startswith(("There is no setting", "a setting holds")):
            raise AssertionError(f"says neither which choice nor which setting: {sentence}") from error
        raise ValueError(f"{file}: {sentence}") from None
    return config


def use_config(config: DictConfig) -> None:
    settings: Any = OmegaConf.to_container(config, resolve=True)
    for key in ("method", "model", "dataset"):
        assert isinstance(settings.get(key, {"_target_": ""})["_target_"], str)


CONFIGURATIONS = {"configuration files": Format(make_file, read_file, use_config)}
