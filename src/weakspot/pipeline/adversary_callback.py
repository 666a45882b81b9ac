"""The training callback of the adversary: it predicts all examples, finds slices, and sets the examples' weights."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
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
from weakspot.models.base import Model
from weakspot.pipeline.learner import Learner
from weakspot.pipeline.processes import is_main_process
from weakspot.pipeline.reweight import example_weights
from weakspot.pipeline.reweight_by_adversary import ReweightByAdversary
from weakspot.predictions import Predictions

log = logging.getLogger(__name__)


class AdversaryCallback(Callback):
    """Sets the learner's weights at the start of every epoch.

    Args:
        reweight: The adversary's settings.
        data: The data that the model is trained on.
        use_embedding_source: Returns the model with the embeddings in which slices are found; by default its own.
    """

    def __init__(
        self,
        reweight: ReweightByAdversary,
        data: DataModule,
        use_embedding_source: Callable[[Model], Model] = lambda model: model,
    ) -> None:
        self.reweight = reweight
        self.data = data
        self.use_embedding_source = use_embedding_source
        self._reader: Model | None = None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Learner)
        if not self.reweight.is_active(trainer.current_epoch):
            return
        with isolate_rng():  # random draws here do not change those of training
            if self._reader is None:
                self._reader = self.use_embedding_source(pl_module.model)
                trainer.precision_plugin.convert_module(self._reader).to(pl_module.device)
            arrays = _predict_all_rows(trainer, pl_module, self._reader, self.data)
            weights = self._weights(arrays) if is_main_process() else None
        pl_module.weights["train"] = torch.from_numpy(trainer.strategy.broadcast(weights)).to(
            pl_module.device
        )

    def _weights(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        dataset = self.data.dataset("train")
        record: dict[str, Any] = {name: values for name, values in arrays.items() if name != "index"}
        record |= dataset.judge(arrays["index"], record["predictions"])
        ids, attributes = dataset.examples["id"].to_pylist(), dataset.examples.drop_columns(["id"])
        p = Predictions.from_arrays(
            **record, ids=ids, attributes=attributes, task=dataset.task, outputs_are="logits"
        )
        with warnings.catch_warnings():
            # the method's advice is meant for a search whose results somebody reads
            warnings.simplefilter("ignore", UserWarning)
            slices = clone(self.reweight.method).fit(p).slices_
        weights = example_weights(slices.weights, self.reweight.strength)
        log.debug("the adversary's %d slices; the largest weight is %.3g", len(slices), weights.max())
        return weights.astype(np.float32)


@torch.no_grad()
def _predict_all_rows(
    trainer: Trainer, learner: Learner, reader: Model, data: DataModule
) -> dict[str, np.ndarray]:
    """Return what the model predicts for every training example, by row; the processes divide the rows among them.

    The reader stands in the model's place meanwhile, so that the strategy runs it as it runs the model.
    """
    n, world_size = len(data.dataset("train")), trainer.world_size
    # every process gets equally many rows: a pass through the strategy's model must run on all of them
    rows = np.arange(trainer.global_rank, -(-n // world_size) * world_size, world_size) % n
    training_modes = {module: module.training for module in learner.modules()}
    model, learner.model = learner.model, reader
    learner.eval()
    try:
        batches = []
        for i, batch in enumerate(data.loader("train", rows)):
            converted = trainer.precision_plugin.convert_input(batch)
            moved = trainer.strategy.batch_to_device(converted, learner.device)
            batches.append(trainer.strategy.predict_step(moved, i))
    finally:
        learner.model = model
        for module, training in training_modes.items():  # a frozen encoder stays in eval mode
            module.training = training
    arrays: dict[str, np.ndarray] = {}
    order = None
    for name in ("index", *(name for name in batches[0] if name != "index")):
        own_values: Tensor = torch.cat([batch[name] for batch in batches])
        values = _gather_rows(own_values, world_size).cpu().numpy()
        if order is None:
            order = np.unique(values, return_index=True)[1]
        arrays[name] = values[order]
    return arrays


def _gather_rows(own_rows: Tensor, world_size: int) -> Tensor:
    """Return the rows of every process, in the order of ranks."""
    if world_size == 1:
        return own_rows
    rows_by_rank = [torch.empty_like(own_rows) for _ in range(world_size)]
    dist.all_gather(rows_by_rank, own_rows.contiguous())
    return torch.cat(rows_by_rank)
