"""Lightning's progress, told as every other step's: epochs and the last validation, without its own bar."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback

from weakspot.pipeline.progress import Tell


class Watch(Callback):
    """Tells how far training or inference is."""

    def __init__(self, tell: Tell) -> None:
        self.tell = tell

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        per_epoch, epochs = int(trainer.num_training_batches), trainer.max_epochs or 1
        done = trainer.current_epoch * per_epoch + batch_idx + 1
        loss = trainer.callback_metrics.get("val/loss")
        last = "" if loss is None else f", validation loss {float(loss):.3g}"
        self.tell(f"training: epoch {trainer.current_epoch + 1} of {epochs}{last}", done, per_epoch * epochs)

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.tell("inferring", batch_idx + 1, int(trainer.num_predict_batches[dataloader_idx]))


def wants_bar(make_trainer: Callable[..., Trainer]) -> bool:
    """What a trainer's settings say of its bar."""
    settings = make_trainer.keywords if isinstance(make_trainer, partial) else {}
    return bool(settings.get("enable_progress_bar", True))
