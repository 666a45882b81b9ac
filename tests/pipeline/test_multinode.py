"""`trainer=multinode`: two launchers on one machine stand for two machines; one process can use their results."""

from __future__ import annotations

import socket
import subprocess
import sys
from subprocess import PIPE, STDOUT

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from paths import ROOT
from processes import ended_with, quiet_environment
from weakspot import Predictions
from weakspot.config.build import plain_values
from weakspot.config.choices import CONFIGS
from weakspot.config.compose import register

register()


def composed(word, monkeypatch, environment):
    for name in ("LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "SLURM_NNODES", "SLURM_NTASKS_PER_NODE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return plain_values(compose("infer", [f"trainer={word}"]).trainer)


@pytest.mark.parametrize(
    ("environment", "devices", "nodes"),
    [
        ({}, "auto", 1),
        ({"LOCAL_WORLD_SIZE": "4", "GROUP_WORLD_SIZE": "2"}, 4, 2),
        ({"SLURM_NTASKS_PER_NODE": "8", "SLURM_NNODES": "3"}, 8, 3),
        ({"SLURM_NNODES": "3"}, "auto", 3),
        # torchrun in one task per machine
        (
            {
                "SLURM_NTASKS_PER_NODE": "1",
                "SLURM_NNODES": "2",
                "LOCAL_WORLD_SIZE": "4",
                "GROUP_WORLD_SIZE": "2",
            },
            4,
            2,
        ),
    ],
)
def test_the_numbers_of_machines_and_devices_come_from_the_launcher(environment, devices, nodes, monkeypatch):
    settings = composed("multinode", monkeypatch, environment)
    assert (settings["devices"], settings["num_nodes"], settings["strategy"]) == (devices, nodes, "ddp")


def test_fsdp_selects_gpus(monkeypatch):
    settings = composed("fsdp", monkeypatch, {})
    assert (settings["accelerator"], settings["strategy"]) == ("gpu", "fsdp")


@pytest.mark.slow
def test_one_process_continues_from_the_results_of_two_machines(shell):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ("logger=none", "training.epochs=1")
    jobs = []
    with ended_with(jobs):
        for node in range(2):
            torchrun = [
                "-m",
                "torch.distributed.run",
                "--nnodes=2",
                "--nproc-per-node=1",
                f"--node-rank={node}",
            ]
            place = ["--master-addr=127.0.0.1", f"--master-port={port}", str(ROOT / "infer.py")]
            line = [sys.executable, *torchrun, *place, *words, "trainer=multinode", "trainer.accelerator=cpu"]
            jobs.append(
                subprocess.Popen(
                    line, cwd=shell.folder, env=quiet_environment(), stdout=PIPE, stderr=STDOUT, text=True
                )
            )
        said = [job.communicate()[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], said
    (two,) = (
        Predictions.load(path.parent) for path in shell.folder.glob("outputs/predictions/*/manifest.json")
    )
    assert "train: cached · infer: missing → will run" in shell(
        "infer", *words, "trainer=cpu", "predictions_dir=one"
    )
    (one,) = (Predictions.load(path.parent) for path in shell.folder.glob("one/*/manifest.json"))
    np.testing.assert_array_equal(one.ids, two.ids)
    np.testing.assert_allclose(one.embeddings, two.embeddings, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(one.losses, two.losses, rtol=1e-4, atol=1e-5)
