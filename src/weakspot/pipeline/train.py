"""Train a model into the store of checkpoints: resumable, complete when its manifest is there."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import Logger

from weakspot.datasets.datamodule import DataModule
from weakspot.models.base import Model
from weakspot.pipeline.groups import group_codes
from weakspot.pipeline.learner import Learner, Training
from weakspot.pipeline.ranks import is_main

MANIFEST = "manifest.json"
CHECKPOINT = "model.ckpt"
_LAST = "last.ckpt"

log = logging.getLogger(__name__)


def is_trained(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()


def is_interrupted(folder: Path) -> bool:
    return (folder / _LAST).is_file() and not is_trained(folder)


def train(
    model: Model,
    data: DataModule,
    training: Training,
    make_trainer: Callable[..., Trainer],
    folder: Path,
    logger: Logger | None = None,
    manifest: Mapping[str, Any] | None = None,
) -> Path:
    """Fit `model` and return the checkpoint of the epoch that `training.keep` asks for.

    A folder that an interrupted run left is resumed from its last epoch, batch order included. The manifest,
    written last, says what made the checkpoint and how well it did.

    Raises ValueError if the loss stops being a number.
    """
    validation = data.dataset("val")
    learner = Learner(model, validation.task, training, group_codes(validation.examples))
    monitor = "val/loss" if training.keep == "best" else None
    kept = ModelCheckpoint(
        dirpath=folder, filename="model", monitor=monitor, save_last=True, enable_version_counter=False
    )
    resume = folder / _LAST if is_interrupted(folder) else None
    with quiet():
        trainer = make_trainer(
            max_epochs=training.epochs,
            gradient_clip_val=training.clip,
            callbacks=[kept, *_stopping(training)],
            logger=logger or False,
            default_root_dir=folder,
            log_every_n_steps=10,
        )
        trainer.fit(learner, datamodule=data, ckpt_path=resume, weights_only=True)
    loss = trainer.callback_metrics["val/loss"] if kept.best_model_score is None else kept.best_model_score
    if not torch.isfinite(loss):
        raise ValueError(
            "training diverged: the validation loss is not a number; "
            f"try a smaller training.learning_rate than {training.learning_rate:g}, or training.clip=1"
        )
    trainer.strategy.barrier()
    if is_main():
        if trainer.current_epoch < training.epochs:
            log.info(
                "stopped after %d of %d epochs: %s without a lower validation loss (training.patience)",
                trainer.current_epoch,
                training.epochs,
                training.patience,
            )
        numbers = {name: float(value) for name, value in trainer.callback_metrics.items()}
        record = {
            **(manifest or {}),
            "last_epoch": numbers,
            "val_loss": float(loss),
            "epoch": trainer.current_epoch,
        }
        draft = folder / f"{MANIFEST}.part"
        draft.write_text(json.dumps(record, indent=1) + "\n")
        os.replace(draft, folder / MANIFEST)
    trainer.strategy.barrier()
    return folder / CHECKPOINT


def _stopping(training: Training) -> list[Callback]:
    if training.patience is None:
        return []
    return [EarlyStopping("val/loss", patience=training.patience)]


@contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's advertisements, and without its advice that does not apply to small data in memory."""
    talkers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [talker.level for talker in talkers]
    for talker in talkers:
        talker.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for advice in (
                "does not have many workers",
                "The number of training batches",
                "Checkpoint directory .* exists",
                "Found .* in eval mode",  # a frozen encoder is meant to be
                "`isinstance.treespec, LeafSpec.` is deprecated",
            ):
                warnings.filterwarnings("ignore", f".*{advice}")
            yield
    finally:
        for talker, level in zip(talkers, levels, strict=True):
            talker.setLevel(level)
