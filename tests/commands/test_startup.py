"""Only needed packages are imported: Lightning only to train or infer, torch only to compute with it."""

from __future__ import annotations

import re

import numpy as np
import pytest

from shell import Shell

TRAINING = {"pytorch_lightning", "lightning_fabric", "torchmetrics", "transformers", "torchvision"}


def imported(shell: Shell, *words: str) -> set[str]:
    """The packages that `discover.py` imports, as Python itself reports them."""
    said = shell("discover", *words, PYTHONPROFILEIMPORTTIME="1")
    found = set(re.findall(r"^import time:.*\| +(\w+)", said, re.MULTILINE))
    assert "weakspot" in found
    return found


@pytest.fixture
def given(shell: Shell) -> Shell:
    draw = np.random.default_rng(0)
    np.savez(shell.folder / "my.npz", embeddings=draw.normal(size=(60, 3)), losses=draw.random(60))
    return shell


def test_given_predictions_import_no_torch(given: Shell) -> None:
    found = imported(given, "predictions=my.npz", "method=random", "logger=none")
    assert not found & (TRAINING | {"torch", "wandb"})


def test_showing_the_configuration_imports_nothing_heavy(shell: Shell) -> None:
    found = imported(shell, "--cfg", "job")
    assert not found & (TRAINING | {"torch", "wandb", "sklearn", "scipy", "pyarrow", "numpy"})


@pytest.mark.slow
def test_given_predictions_with_the_default_method_and_logger_import_no_torch(given: Shell) -> None:
    found = imported(given, "predictions=my.npz")
    assert not found & (TRAINING | {"torch"})
    assert "wandb" in found


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "logger=none",
        pytest.param("logger=csv", marks=pytest.mark.optional),  # the least of the loggers that run in CI
        "logger=tensorboard",
        "logger=wandb method=scan",
    ],
)
def test_a_cached_model_and_predictions_import_no_lightning(digits: Shell, words: str) -> None:
    found = imported(digits, "training.epochs=1", "method=random", *words.split())
    assert not found & TRAINING


@pytest.mark.slow
def test_inference_imports_lightning(digits: Shell) -> None:
    found = imported(digits, "logger=none", "training.epochs=1", "method=random", "predictions_dir=anew")
    assert found >= {"pytorch_lightning", "torchmetrics"}
