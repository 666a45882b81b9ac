"""The training callback that sets fixed weights of the examples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback

from weakspot.pipeline.learner import Learner
from weakspot.pipeline.reweight import Reweight


class WeightsCallback(Callback):
    """Sets the learner's weights; the validation weights from the start, so that all epochs are compared equally.

    Args:
        reweight: The settings of reweighting.
        weights: (n,) weights by split; None on ranks above 0, which receive them from rank 0.
    """

    def __init__(self, reweight: Reweight, weights: Mapping[str, Float[np.ndarray, " n"]] | None) -> None:
        self.reweight = reweight
        self.weights = weights

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.weights = trainer.strategy.broadcast(self.weights)
        self._set_weights("val", pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.reweight.is_active(trainer.current_epoch):
            self._set_weights("train", pl_module)

    def _set_weights(self, split: str, learner: LightningModule) -> None:
        assert self.weights is not None
        assert isinstance(learner, Learner)
        weights = torch.from_numpy(self.weights[split].astype(np.float32))
        learner.weights.setdefault(split, weights.to(learner.device))
