"""Warns early that training on a CPU will take long, by the rate of its first batches, and suggests what is faster."""

from __future__ import annotations

import logging
import time
from typing import Any

from PIL import Image
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback

from weakspot.datasets.base import Dataset
from weakspot.models.base import Model
from weakspot.models.small_cnn import SmallCNN
from weakspot.pipeline.processes import is_main_process
from weakspot.pipeline.progress import format_duration

log = logging.getLogger(__name__)

LONG_TRAINING_SECONDS = 600.0
"""Seconds; shorter training is not worth a note."""

MEASURING_SECONDS = 10.0
"""Seconds of batches over which the rate is measured."""

_WARM_UP = 2  # batches that are left out of the rate: workers start, and libraries choose their algorithms


class SlowTrainingNote(Callback):
    """Logs one line, a few seconds after the start, if training on a CPU will take long.

    Args:
        model: The model.
        dataset: Any split of the dataset.
    """

    def __init__(self, model: Model, dataset: Dataset) -> None:
        self._model, self._dataset = model, dataset
        self._batches = 0
        self._start: float | None = None  # when the warm-up was over
        self._decided = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._decided:
            return
        self._batches += 1
        now = time.monotonic()
        if self._batches == _WARM_UP:
            self._start = now
        if self._start is None or self._batches == _WARM_UP or now - self._start < MEASURING_SECONDS:
            return
        self._decided = True
        seconds = (now - self._start) / (self._batches - _WARM_UP)
        per_epoch, epochs = int(trainer.num_training_batches), trainer.max_epochs or 1
        left = seconds * (per_epoch * (epochs - trainer.current_epoch) - batch_idx - 1)
        if left >= LONG_TRAINING_SECONDS and trainer.strategy.root_device.type == "cpu" and is_main_process():
            log.info(
                "training will take about %s on this CPU (%s s a batch, %d batches an epoch, %d epochs at most); "
                "faster: %s",
                format_duration(left),
                f"{seconds:.1f}" if seconds >= 1 else f"{seconds:.2g}",
                per_epoch,
                epochs,
                self._faster_choices(),
            )

    def _faster_choices(self) -> str:
        choices = ["fewer epochs (training.epochs=)", "a GPU"]
        if isinstance(self._dataset.preview(0), Image.Image):
            choices.insert(0, "smaller images (dataset.size=)")
            if type(self._model) is not SmallCNN:
                choices.insert(0, "model=small_cnn")
        return ", ".join(choices)
