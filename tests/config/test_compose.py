"""Configurations that must compose: every dataset with every method or model, experiments, and points of sweeps."""

from __future__ import annotations

import subprocess
import sys
from itertools import product

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from paths import ROOT
from processes import quiet_environment
from weakspot.config.build import build
from weakspot.config.choices import CONFIGS, GROUPS, all_choices
from weakspot.config.compose import register

register()


def choices(group):
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def composed(*overrides, name="discover"):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose(name, list(overrides))


@pytest.mark.parametrize("group", GROUPS)
def test_the_choices_of_a_group_are_those_that_hydra_knows(group):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        known = GlobalHydra.instance().config_loader().get_group_options(group)
    assert all_choices(group) == sorted(known)


@pytest.mark.parametrize("dataset", choices("dataset"))
@pytest.mark.parametrize("method", choices("method"))
def test_every_dataset_composes_with_every_method(dataset, method):
    assert composed(f"dataset={dataset}", f"method={method}").dataset._target_


@pytest.mark.parametrize("dataset", choices("dataset"))
@pytest.mark.parametrize("name", ["train", "infer"])
def test_every_dataset_composes_for_every_entry_point(dataset, name):
    assert composed(f"dataset={dataset}", name=name).model._target_


@pytest.mark.parametrize("model", [*choices("model"), "resnet18"])
@pytest.mark.parametrize("dataset", ["colored_digits", "amazon"])
def test_every_model_composes_with_any_dataset(dataset, model):
    assert composed(f"dataset={dataset}", f"model={model}").model._target_


def test_an_experiment_can_be_changed_on_the_same_line():
    assert composed("experiment=udis_celeba_male", "dataset.bias_share=0.5").dataset.bias_share == 0.5
    assert composed("experiment=udis_coco", "method.category=cup").method.category == "cup"
    assert composed("experiment=spotlight_xray", "method.search=multistart").method.min_size == 104


@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_point_of_a_sweep_composes(path):
    sweep = yaml.safe_load(path.read_text())
    assert (ROOT / sweep["program"]).is_file()
    fixed = [word for word in sweep["command"] if "=" in word]
    words = [[f"{key}={value}" for value in each["values"]] for key, each in sweep["parameters"].items()]
    for point in product(*words):
        composed(*fixed, *point)


@pytest.mark.parametrize("group", ["trainer", "logger"])
def test_every_choice_of_a_group_builds(group):
    for choice in choices(group):
        assert callable(build(composed(f"{group}={choice}")[group], positional=3 if group == "logger" else 0))


def test_the_dataset_chooses_the_size_and_the_command_line_overrides_it():
    assert composed("method=spotlight", "dataset.spotlight_size=0.07").method.min_size == 0.07
    assert (
        composed("method=spotlight", "dataset.spotlight_size=0.07", "method.min_size=30").method.min_size
        == 30
    )
    assert (
        composed("method=spotlight", "dataset.spotlight_size=0.07", "predictions=my.npz").method.min_size
        == 0.02
    )


def test_composing_imports_no_torch():
    script = (
        "import sys, runpy; sys.argv = ['discover.py', '--cfg', 'job']\n"
        "try: runpy.run_path(r'%s', run_name='__main__')\n"
        "except SystemExit as stop: assert not stop.code\n"
        "heavy = {'torch', 'transformers', 'pytorch_lightning', 'wandb', 'numba', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", script % (ROOT / "discover.py")],
        env=quiet_environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["method"]["n_slices"] == 5
