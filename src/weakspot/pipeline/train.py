"""Train a model into the store of checkpoints: resumable, complete when its manifest is there."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback, EarlyStopping

from weakspot.datasets.datamodule import DataModule
from weakspot.models.base import Model
from weakspot.pipeline.checkpoint_files import CHECKPOINT, LAST, MANIFEST
from weakspot.pipeline.checkpoints import (
    Keeper,
    Progress,
    Start,
    WholeFiles,
    find_start,
    whole_checkpoint,
)
from weakspot.pipeline.groups import groups_of
from weakspot.pipeline.learner import Learner
from weakspot.pipeline.progress import progress
from weakspot.pipeline.quiet import quiet
from weakspot.pipeline.ranks import agree, heed_signals
from weakspot.pipeline.training import Training
from weakspot.pipeline.watch import Watch, wants_bar
from weakspot.tracking.lightning_logger import as_lightning_logger
from weakspot.tracking.loggers import RunLogger

log = logging.getLogger(__name__)


def train(
    model: Model,
    data: DataModule,
    training: Training,
    make_trainer: Callable[..., Trainer],
    folder: Path,
    logger: RunLogger | None = None,
    manifest: Mapping[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
) -> Path:
    """Fit `model` and return the checkpoint of the epoch that `training.keep` asks for.

    A folder that an interrupted run left is resumed from its last whole checkpoint, batch order included. The
    manifest, written last, says what made the checkpoint and how well it did.

    Raises:
        ValueError: The loss stops being a number.
        OSError: A checkpoint cannot be written; the one before stays.
    """
    validation = data.dataset("val")
    learner = Learner(model, validation.task, training, groups_of(validation.examples))
    start = Start.from_dict(agree("start", lambda: asdict(find_start(folder))))
    if not (start.progress and start.progress.finished):
        with quiet(), progress("training: starting", wants_bar(make_trainer)) as tell:
            trainer = make_trainer(
                max_epochs=training.epochs,
                gradient_clip_val=training.clip,
                callbacks=[
                    *callbacks,
                    Keeper(folder, training.keep, start),
                    *_stopping(training),
                    Watch(tell),
                ],
                enable_progress_bar=False,
                logger=False if logger is None else as_lightning_logger(logger),
                default_root_dir=folder,
                log_every_n_steps=10,
            )
            heed_signals(trainer)
            trainer.strategy.checkpoint_io = WholeFiles()
            resume = None if start.name is None else folder / start.name
            trainer.fit(learner, datamodule=data, ckpt_path=resume, weights_only=True)
    loss = agree("val_loss", lambda: _finish(folder, training, manifest or {}))
    if loss is None:
        raise ValueError(
            "training diverged: the validation loss is not a number; "
            f"try a smaller training.learning_rate than {training.learning_rate:g}, or training.clip=1"
        )
    return folder / CHECKPOINT


def _finish(folder: Path, training: Training, manifest: Mapping[str, Any]) -> float | None:
    """Write the manifest from what the checkpoints say, and return the validation loss of the one that is kept.

    None, and no manifest, where that is not a number.
    """
    last, kept = Progress.read(folder / LAST), Progress.read(folder / CHECKPOINT)
    if kept is None or "val/loss" not in kept.metrics:
        raise ValueError(
            "training ended without a validation, by which its checkpoint is judged; "
            "leave trainer.limit_val_batches and trainer.check_val_every_n_epoch as they are"
        )
    last = last or kept
    loss = kept.metrics["val/loss"]
    if not math.isfinite(loss):
        return None
    if training.patience is not None and last.epoch < training.epochs:
        log.info(
            "stopped after %d of %d epochs: %s without a lower validation loss (training.patience)",
            last.epoch,
            training.epochs,
            training.patience,
        )
    record = {
        **manifest,
        "last_epoch": last.metrics,
        "kept_epoch": kept.metrics,
        "val_loss": loss,
        "epoch": last.epoch,
    }
    with whole_checkpoint(folder / MANIFEST) as file:
        file.write(f"{json.dumps(record, indent=1)}\n".encode())
    return loss


def _stopping(training: Training) -> list[Callback]:
    if training.patience is None:
        return []
    return [EarlyStopping("val/loss", patience=training.patience)]
