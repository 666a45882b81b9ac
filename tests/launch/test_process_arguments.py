"""The arguments that each part of a command sees, and that they are restored."""

from __future__ import annotations

import sys

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from weakspot.launch.process_arguments import arguments_of_sweep_job


def test_a_job_of_a_sweep_has_its_own_arguments_and_folder_while_it_runs(monkeypatch):
    config = OmegaConf.create(
        {
            "mode": RunMode.MULTIRUN,
            "overrides": {"task": ["seed=1"]},
            "run": {"dir": "all"},
            "runtime": {
                "output_dir": "swept/0",
                "config_sources": [
                    {"provider": "main", "path": "/configs"},
                    {"provider": "command-line", "path": "/of mine"},
                ],
            },
        }
    )
    typed = ["train.py", "-m", "--config-dir", "of mine", "seed=1,2"]
    monkeypatch.setattr(HydraConfig, "get", lambda: config)
    monkeypatch.setattr(sys, "argv", typed)
    with arguments_of_sweep_job():
        assert (sys.argv, config.run.dir) == (
            ["train.py", "--config-dir=/of mine", "seed=1"],
            "swept/0",
        )
    assert sys.argv is typed
    assert (typed, config.run.dir) == (
        ["train.py", "-m", "--config-dir", "of mine", "seed=1,2"],
        "all",
    )
