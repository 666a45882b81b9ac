"""The manual that `--help` shows: every choice and setting, with the defaults of a run."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from paths import ROOT
from processes import quiet_environment
from weakspot.config.choices import CONFIGS, all_choices
from weakspot.config.compose import register
from weakspot.config.manual import help_for_chosen

register()


def test_help_is_the_manual(shell):
    text = shell("discover", "--help")
    assert max(map(len, text.splitlines())) <= 80
    for word in (
        "python discover.py predictions=my.npz",
        "colored_digits",
        "resnet34",
        "method.sizes=[20,40]",
        "spotlight",
        "report.map=pca",
    ):
        assert word in text
    for group in ("dataset", "model", "method", "experiment", "trainer", "logger"):
        assert f"\n{group}=\n" in text
        lines = [line for line in text.splitlines() if line.startswith("  ")]
        for choice in [file.stem for file in (CONFIGS / group).glob("*.yaml")]:
            assert any(line.split()[0] == choice and len(line.split()) > 1 for line in lines), choice
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        defaults = compose("discover")
    for line in text.partition("Settings of its own, with")[2].splitlines():
        name, _, default = line.strip().partition("=")
        is_setting = line.startswith("  ") and not line.startswith("   ")  # others continue a setting
        if is_setting and default and " " not in name and not name.startswith("method."):
            value = OmegaConf.select(defaults, name, throw_on_missing=True)
            if not name.startswith("training."):  # the dataset changes these
                assert yaml.safe_load(default.split()[0]) == value, line


@pytest.mark.parametrize(
    ("command", "own", "not_its_own"),
    [
        ("discover", "predictions=null", "port=8765"),
        ("train", "training.epochs=20", "method.n_slices"),
        ("infer", "shard=null", "method.n_slices"),
        ("browse", "folders=[outputs,multirun]", "dataset="),
    ],
)
def test_the_help_of_each_command_starts_with_its_purpose_and_its_own_settings(
    shell, command, own, not_its_own
):
    text = shell(command, "--help")
    assert text.startswith(f"python {command}.py ")
    assert max(map(len, text.splitlines())) <= 80
    head, _, settings = text.partition("with their defaults\n")
    assert head.count(f"\npython {command}.py ") >= 5  # examples
    assert own in settings[:1100]
    assert not_its_own not in text


def test_the_settings_of_the_choices_are_described(shell):
    """From a schema, a commented file, and torchvision's models, which have no file; with the values of the command."""
    text = shell("discover", "method=udis", "dataset=csv", "model=resnet18", "dataset.size=64", "--help")
    assert max(map(len, text.splitlines())) <= 80
    said = re.sub(r"\s+", " ", text)
    for line in (
        "of method=udis method.min_cluster_size=5 the fewest examples in a cluster of the finest cut",
        "of dataset=csv dataset.root=null what paths are relative to; null: the file's folder",
        "dataset.hide=null attributes that restate the target and must not describe slices",
        "dataset.size=64 pixels a side that the model receives",
        "of model=resnet18 model.name=resnet18 model.embed_layer=null the layer that gives the embedding",
        "model.download=false true: fetch what is missing",
    ):
        assert line in said
    assert "method.draws" not in said  # a setting of scan only


def test_a_long_value_leaves_room_for_the_help(shell):
    text = shell("discover", "dataset=csv", f"dataset.file={'/long/folder' * 10}/my.csv", "--help")
    assert "my.csv\n      " in text
    assert sum(len(line.split()) == 1 for line in text.splitlines()) < 60
    assert " what paths are relative to; null: " in re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("word", all_choices("method"))
def test_every_setting_of_a_method_has_help(word):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose("discover", [f"method={word}"], return_hydra_config=True)
    first, *lines = help_for_chosen("method", _root_=config).splitlines()
    assert first == f"of method={word}"
    bare = [line for line in lines if line.startswith("  method.") and len(line.split()) == 1]
    assert bare in ([], ["  method.seed=0"])


def test_a_manual_that_is_not_read_to_its_end_is_not_an_error(shell):
    script = f"{sys.executable} {ROOT / 'discover.py'} --help | head -n 1"
    done = subprocess.run(
        ["bash", "-c", script], cwd=shell.folder, env=quiet_environment(), capture_output=True, text=True
    )
    assert done.stdout.startswith("python discover.py")
    assert not done.stderr
