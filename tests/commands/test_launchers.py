"""Hydra's plugins for clusters and for hyperparameter search, installed by the extras `submitit` and `optuna`."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.optional

WORDS = ("training.epochs=1", "logger=none", "trainer=cpu")


def test_optuna_searches_by_the_validation_loss(shell):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    rate = "training.learning_rate=tag(log, interval(1e-4, 1e-2))"
    said = shell("train", "-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", *WORDS, rate)
    assert "Best value: 0." in said
    assert len(list(shell.folder.glob("outputs/checkpoints/*/manifest.json"))) == 2


def test_submitit_infers_shards_in_parallel(shell):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    shell("train", *WORDS)
    shell("infer", "-m", "hydra/launcher=submitit_local", "shard=1/2,2/2", *WORDS)
    (folder,) = shell.folder.glob("outputs/predictions/*/shards")
    assert len(list(folder.iterdir())) == 2
    assert "infer: interrupted at 719 of 719" in shell("infer", *WORDS)
    assert not folder.exists()
