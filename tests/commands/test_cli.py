"""The command line, as typed: what composes, what is refused, what is suggested."""

from __future__ import annotations

import subprocess
import sys
from itertools import product

import numpy as np
import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from paths import ROOT
from processes import quiet_environment
from weakspot.config.build import build
from weakspot.config.choices import CONFIGS
from weakspot.config.compose import register

register()


def choices(group):
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def composed(*overrides, name="discover"):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose(name, list(overrides))


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


def test_help_is_the_manual(shell):
    text = shell("discover", "--help")
    assert max(map(len, text.splitlines())) <= 80
    for word in (
        "python discover.py predictions=my.npz",
        "colored_digits",
        "resnet34",
        "min_size",
        "spotlight",
        "report.map=pca",
    ):
        assert word in text
    for group in ("dataset", "model", "method", "experiment", "trainer", "logger"):
        assert f"\n{group}=\n" in text
        lines = [line for line in text.splitlines() if line.startswith("  ")]
        for choice in choices(group):
            assert any(line.split()[0] == choice and len(line.split()) > 1 for line in lines), choice
    defaults = composed()
    for line in text.partition("Settings of its own, with")[2].splitlines():
        name, _, default = line.strip().partition("=")
        is_setting = line.startswith("  ") and not line.startswith("   ")  # the other lines continue one
        if is_setting and default and " " not in name and not name.startswith("method."):
            value = OmegaConf.select(defaults, name, throw_on_missing=True)
            if not name.startswith("training."):  # which the dataset changes
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
def test_each_command_says_first_what_it_is_for_and_what_is_its_own(shell, command, own, not_its_own):
    text = shell(command, "--help")
    assert text.startswith(f"python {command}.py ")
    assert max(map(len, text.splitlines())) <= 80
    head, _, settings = text.partition("with their defaults\n")
    assert head.count(f"\npython {command}.py ") >= 5  # examples
    assert own in settings[:1100]
    assert not_its_own not in text


def test_a_manual_that_is_not_read_to_its_end_is_no_error(shell):
    script = f"{sys.executable} {ROOT / 'discover.py'} --help | head -n 1"
    done = subprocess.run(
        ["bash", "-c", script], cwd=shell.folder, env=quiet_environment(), capture_output=True, text=True
    )
    assert done.stdout.startswith("python discover.py")
    assert not done.stderr


def test_anyones_own_predictions_need_no_dataset_and_no_model(shell):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    x[:30] += 6
    losses = np.where(np.arange(300) < 30, 5.0, 1.0) + rng.random(300)
    np.savez(shell.folder / "my.npz", embeddings=x, losses=losses, planted=np.arange(300) < 30)
    text = shell("discover", "predictions=my.npz", "logger=none", "method.n_slices=1")
    assert "planted = yes" in text
    assert len(shell.reports()) == 1


def test_probabilities_are_taken_for_what_they_are_called(shell):
    rng = np.random.default_rng(0)
    shares = rng.dirichlet([1, 1, 1], 200)
    np.savez(
        shell.folder / "my.npz",
        embeddings=rng.normal(size=(200, 4)),
        outputs=shares,
        labels=rng.integers(0, 3, 200),
    )
    words = ["predictions=my.npz", "logger=none", "method.n_slices=1"]
    text = shell("discover", *words, fails=True)
    assert "my.npz: outputs look like probabilities, not logits (every row sums to 1): say" in text
    assert not shell.reports()
    shell("discover", *words, "outputs_are=probabilities")
    assert len(shell.reports()) == 1


def test_numbers_that_are_none_are_named_and_nothing_is_left(shell):
    x = np.zeros((10, 2), dtype=np.float32)
    x[4, 1] = np.nan
    np.savez(shell.folder / "my.npz", embeddings=x, losses=np.ones(10))
    text = shell("discover", "predictions=my.npz", "logger=none", fails=True)
    assert "row 4" in text
    assert not shell.reports()
    assert not list(shell.folder.glob("**/slices*"))
