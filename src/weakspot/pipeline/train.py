"""Trains a model into the checkpoint store; training can be resumed, and is complete once its manifest is written."""

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
    AtomicCheckpointIO,
    CheckpointWriter,
    ResumePoint,
    TrainingProgress,
    atomic_checkpoint_file,
    find_resume_point,
)
from weakspot.pipeline.group_metrics import groups_of
from weakspot.pipeline.learner import Learner
from weakspot.pipeline.lightning_messages import silence_lightning
from weakspot.pipeline.processes import broadcast_decision, is_main_process, keep_sigterm_handler
from weakspot.pipeline.progress import progress
from weakspot.pipeline.progress_callback import ProgressCallback, shows_progress_bar
from weakspot.pipeline.slow_training import SlowTrainingNote
from weakspot.pipeline.training_settings import BEST_EPOCH_BY, TrainingSettings
from weakspot.tracking.lightning_logger import as_lightning_logger
from weakspot.tracking.loggers import RunLogger

log = logging.getLogger(__name__)


def train(
    model: Model,
    data: DataModule,
    training: TrainingSettings,
    make_trainer: Callable[..., Trainer],
    folder: Path,
    logger: RunLogger | None = None,
    manifest: Mapping[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
) -> Path:
    """Fit `model` and return the checkpoint of the epoch that `training.keep` asks for.

    A folder that an interrupted run left is resumed from its last complete checkpoint, batch order included. The
    manifest, written last, records what made the checkpoint and how well it did.

    Args:
        model: The model, with fresh weights.
        data: The data.
        training: The settings of training.
        make_trainer: Builds a trainer.
        folder: The folder of the checkpoint in the store.
        logger: The run's logger.
        manifest: The content of the manifest besides the metrics.
        callbacks: Further callbacks of the trainer.

    Returns:
        The checkpoint file.

    Raises:
        ValueError: If the loss stops being a number.
        OSError: If a checkpoint cannot be written; the previous one stays.
    """
    validation = data.dataset("val")
    learner = Learner(model, validation.task, training, groups_of(validation.examples))
    resume_point = ResumePoint.from_dict(
        broadcast_decision("resume_point", lambda: asdict(find_resume_point(folder)))
    )
    if model.new_head is not None and resume_point.checkpoint_name is None and is_main_process():
        log.warning("%s", model.new_head)
    if not (resume_point.progress and resume_point.progress.finished):
        with (
            silence_lightning(),
            progress("training: starting", shows_progress_bar(make_trainer)) as report_progress,
        ):
            trainer = make_trainer(
                max_epochs=training.epochs,
                gradient_clip_val=training.clip,
                callbacks=[
                    *callbacks,
                    CheckpointWriter(folder, training.keep, resume_point),
                    *_early_stopping(training),
                    ProgressCallback(report_progress),
                    SlowTrainingNote(model, validation),
                ],
                enable_progress_bar=False,
                logger=False if logger is None else as_lightning_logger(logger),
                default_root_dir=folder,
                log_every_n_steps=10,
            )
            keep_sigterm_handler(trainer)
            trainer.strategy.checkpoint_io = AtomicCheckpointIO()
            checkpoint = (
                None if resume_point.checkpoint_name is None else folder / resume_point.checkpoint_name
            )
            trainer.fit(learner, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    loss = broadcast_decision("val_loss", lambda: _write_manifest(folder, training, manifest or {}))
    if loss is None:
        raise ValueError(
            "training diverged: the validation loss is not a number; "
            f"try a smaller training.learning_rate than {training.learning_rate:g}, or training.clip=1"
        )
    return folder / CHECKPOINT


def _write_manifest(folder: Path, training: TrainingSettings, manifest: Mapping[str, Any]) -> float | None:
    """Write the manifest from the checkpoints' records, and return the validation loss of the kept one.

    Returns:
        The loss; None if it is not a number, and then no manifest is written.
    """
    last, kept = TrainingProgress.read(folder / LAST), TrainingProgress.read(folder / CHECKPOINT)
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
    with atomic_checkpoint_file(folder / MANIFEST) as file:
        file.write(f"{json.dumps(record, indent=1)}\n".encode())
    return loss


def _early_stopping(training: TrainingSettings) -> list[Callback]:
    if training.patience is None:
        return []
    return [EarlyStopping(BEST_EPOCH_BY, patience=training.patience)]
