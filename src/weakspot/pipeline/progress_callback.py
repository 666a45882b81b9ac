"""Lightning's progress, reported like that of every other step, without Lightning's own bar."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback

from weakspot.pipeline.progress import ReportProgress


class ProgressCallback(Callback):
    """Reports the progress of training or inference.

    Args:
        report_progress: The function that shows it.
    """

    def __init__(self, report_progress: ReportProgress) -> None:
        self.report_progress = report_progress

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        per_epoch, epochs = int(trainer.num_training_batches), trainer.max_epochs or 1
        done = trainer.current_epoch * per_epoch + batch_idx + 1
        loss = trainer.callback_metrics.get("val/loss")
        last = "" if loss is None else f", validation loss {float(loss):.3g}"
        self.report_progress(
            f"training: epoch {trainer.current_epoch + 1} of {epochs}{last}", done, per_epoch * epochs
        )

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.report_progress("inferring", batch_idx + 1, int(trainer.num_predict_batches[dataloader_idx]))


def shows_progress_bar(make_trainer: Callable[..., Trainer]) -> bool:
    """Return whether a trainer's settings ask for a progress bar."""
    settings = make_trainer.keywords if isinstance(make_trainer, partial) else {}
    return bool(settings.get("enable_progress_bar", True))
