"""The adversary's part in training: what the model says of all examples now, the slices, their weights."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.seed import isolate_rng
from sklearn.base import clone
from torch import Tensor

from weakspot.datasets.datamodule import DataModule
from weakspot.pipeline.adversary import Adversary
from weakspot.pipeline.learner import Learner
from weakspot.pipeline.ranks import is_main
from weakspot.pipeline.reweight import example_weights
from weakspot.predictions import Predictions

log = logging.getLogger(__name__)


class Seeking(Callback):
    """Gives the learner its weights at the start of every epoch."""

    def __init__(self, reweight: Adversary, data: DataModule) -> None:
        self.reweight = reweight
        self.data = data

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Learner)
        if not self.reweight.begins(trainer.current_epoch):
            return
        with isolate_rng():  # whatever is drawn here, training draws as it would without it
            read = _read(trainer, pl_module, self.data)
            weights = self._weights(read) if is_main() else None
        pl_module.weights["train"] = torch.from_numpy(trainer.strategy.broadcast(weights)).to(
            pl_module.device
        )

    def _weights(self, read: Mapping[str, np.ndarray]) -> np.ndarray:
        dataset = self.data.dataset("train")
        record: dict[str, Any] = {name: values for name, values in read.items() if name != "index"}
        record |= dataset.judge(read["index"], record["predictions"])
        ids, attributes = dataset.examples["id"].to_pylist(), dataset.examples.drop_columns(["id"])
        p = Predictions.from_arrays(
            **record, ids=ids, attributes=attributes, task=dataset.task, outputs_are="logits"
        )
        with warnings.catch_warnings():
            # a spotlight that collapsed, say, is advice for a search that somebody looks at
            warnings.simplefilter("ignore", UserWarning)
            slices = clone(self.reweight.method).fit(p).slices_
        weights = example_weights(slices.weights, self.reweight.strength)
        log.debug("the adversary's %d slices; the largest weight is %.3g", len(slices), weights.max())
        return weights.astype(np.float32)


@torch.no_grad()
def _read(trainer: Trainer, learner: Learner, data: DataModule) -> dict[str, np.ndarray]:
    """What the model says of every training example now, by row; the processes share the rows."""
    n, world = len(data.dataset("train")), trainer.world_size
    # as many rows for each process: what goes through the strategy's model must do so on all of them
    rows = np.arange(trainer.global_rank, -(-n // world) * world, world) % n
    modes = {module: module.training for module in learner.modules()}
    learner.eval()
    try:
        parts = [
            trainer.strategy.predict_step(trainer.strategy.batch_to_device(batch, learner.device), i)
            for i, batch in enumerate(data.loader("train", rows))
        ]
    finally:
        for module, training in modes.items():  # a frozen encoder stays as it was
            module.training = training
    found: dict[str, np.ndarray] = {}
    order = None
    for name in ("index", *(name for name in parts[0] if name != "index")):
        mine: Tensor = torch.cat([part[name] for part in parts])
        values = _of_all(mine, world).cpu().numpy()
        if order is None:
            order = np.unique(values, return_index=True)[1]
        found[name] = values[order]
    return found


def _of_all(mine: Tensor, world: int) -> Tensor:
    """The rows of every process, one after the other."""
    if world == 1:
        return mine
    parts = [torch.empty_like(mine) for _ in range(world)]
    dist.all_gather(parts, mine.contiguous())
    return torch.cat(parts)
