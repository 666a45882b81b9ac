"""What a run reports about the processes it is going to start."""

from __future__ import annotations

import pytest
import torch
from pytorch_lightning import Trainer

from weakspot.pipeline.checks import describe_processes
from weakspot.pipeline.lightning_messages import silence_lightning


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"strategy": "ddp", "devices": "auto"},  # trainer=ddp on a machine without a GPU
            "1 process on the CPU, because torch finds no GPU here; trainer.devices=N starts N",
        ),
        ({"strategy": "ddp", "devices": 3}, "3 processes on the CPU"),
        (
            {"strategy": "ddp", "devices": 3, "num_nodes": 2},
            "6 processes on the CPU, on 2 machines",
        ),
        ({"strategy": "auto", "devices": 1}, None),  # nobody asked for several
    ],
)
def test_a_trainer_with_several_processes_reports_their_number_and_device(settings, said, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with silence_lightning():
        trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, **settings)
    assert describe_processes(trainer) == said
