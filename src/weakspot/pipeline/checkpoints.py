"""The checkpoints of a training run: written completely or not at all, and checked before training resumes."""

from __future__ import annotations

import logging
import math
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning_fabric.utilities.types import _PATH
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.trainer.states import TrainerFn

from weakspot.pipeline.checkpoint_files import CHECKPOINT, LAST
from weakspot.pipeline.training_settings import BEST_EPOCH_BY
from weakspot.predictions.atomic_files import atomic_file

_PROGRESS_KEY = "weakspot"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingProgress:
    """How far training had come when a checkpoint was written; every checkpoint holds this record.

    Attributes:
        epoch: How many epochs were finished.
        finished: Whether nothing was left to train.
        kept: Whether this epoch was the one to keep, of those so far.
        metrics: The latest metrics by name; `val/loss` is among them once a validation has run.
    """

    epoch: int
    finished: bool
    kept: bool
    metrics: Mapping[str, float]

    @classmethod
    def read(cls, path: Path) -> TrainingProgress | None:
        """Return the record of a checkpoint; None if the file is missing or damaged, or has no such record."""
        try:
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:  # torch itself does not verify checksums
                    return None
            return cls(**torch.load(path, map_location="cpu", weights_only=True, mmap=True)[_PROGRESS_KEY])
        except Exception:  # a damaged file may raise any error
            return None


@dataclass(frozen=True)
class ResumePoint:
    """The checkpoint from which training resumes.

    Attributes:
        checkpoint_name: The checkpoint's file in the run's folder; None if training starts from the beginning.
        progress: The checkpoint's record.
        kept_loss: The validation loss of the epoch that `model.ckpt` holds.
    """

    checkpoint_name: str | None = None
    progress: TrainingProgress | None = None
    kept_loss: float | None = None

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> ResumePoint:
        """Return the point that `dataclasses.asdict` turned into this dict."""
        progress = fields["progress"]
        return cls(fields["checkpoint_name"], progress and TrainingProgress(**progress), fields["kept_loss"])


def find_resume_point(folder: Path) -> ResumePoint:
    """Find where training in a folder resumes: at its last checkpoint if that is complete, else at the one it keeps.

    A warning names a checkpoint that cannot be used. If the file of the best epoch is missing, training starts from the
    beginning, because another epoch would not be what these settings produce. Half-written files of a killed run are
    deleted, and the kept checkpoint is restored from the last one if that is the same epoch.

    Args:
        folder: The folder of the training run.
    """
    for draft in folder.glob("*.part"):
        draft.unlink()
    last, kept = TrainingProgress.read(folder / LAST), TrainingProgress.read(folder / CHECKPOINT)
    if last and not kept and last.kept:
        with atomic_checkpoint_file(folder / CHECKPOINT) as file, open(folder / LAST, "rb") as source:
            shutil.copyfileobj(source, file)
        kept = last
    existing = [name for name in (LAST, CHECKPOINT) if (folder / name).is_file()]
    if last and kept:
        return ResumePoint(LAST, last, kept.metrics.get(BEST_EPOCH_BY))
    if kept:
        log.warning(
            "%s is missing or damaged; training resumes from %s, after epoch %d",
            folder / LAST,
            CHECKPOINT,
            kept.epoch,
        )
        return ResumePoint(CHECKPOINT, kept, kept.metrics.get(BEST_EPOCH_BY))
    if last:
        log.warning(
            "%s, the best epoch so far, is missing or damaged; training starts from the beginning",
            folder / CHECKPOINT,
        )
    elif existing:
        log.warning("no complete checkpoint is left in %s; training starts from the beginning", folder)
    return ResumePoint()


class CheckpointWriter(Checkpoint):
    """Writes both checkpoints during training, each with its `TrainingProgress`.

    Lightning's own callback writes the last epoch only if it is the best, and remembers the best one for one path of
    the folder only. Here the kept checkpoint itself holds the best loss (`ResumePoint.kept_loss`), so that a store
    can be moved.

    Args:
        folder: The folder of the training run.
        keep: The epoch to keep: best or last.
        start: Where training resumes.
    """

    def __init__(self, folder: Path, keep: Literal["best", "last"], start: ResumePoint) -> None:
        self.folder = folder
        self.keep = keep
        self.kept_loss = start.kept_loss
        self._finished_epochs = 0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._finished_epochs = trainer.current_epoch + 1
        if self.keep == "last" or (_validates_after_each_epoch(trainer) and self._is_best(trainer)):
            trainer.save_checkpoint(self.folder / CHECKPOINT)
        trainer.save_checkpoint(self.folder / LAST)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        fitting = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        self._finished_epochs = trainer.current_epoch
        if (
            fitting
            and self.keep == "best"
            and not _validates_after_each_epoch(trainer)
            and self._is_best(trainer)
        ):
            trainer.save_checkpoint(self.folder / CHECKPOINT)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        progress = TrainingProgress(
            epoch=self._finished_epochs,
            finished=trainer.should_stop or self._finished_epochs == trainer.max_epochs,
            kept=self.keep == "last" or metrics.get(BEST_EPOCH_BY) == self.kept_loss,
            metrics=metrics,
        )
        checkpoint[_PROGRESS_KEY] = asdict(progress)

    def _is_best(self, trainer: Trainer) -> bool:
        loss = float(trainer.callback_metrics[BEST_EPOCH_BY])
        loss = math.inf if math.isnan(loss) else loss
        is_best = trainer.strategy.reduce_boolean_decision(self.kept_loss is None or loss < self.kept_loss)
        if is_best:
            self.kept_loss = loss
        return is_best


def _validates_after_each_epoch(trainer: Trainer) -> bool:
    """Return whether each epoch ends with a validation, and there is no other validation."""
    return trainer.val_check_interval == 1.0 and trainer.check_val_every_n_epoch == 1


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes Lightning's checkpoints so that neither a kill nor a full disk leaves half a file.

    Lightning writes to the temporary folder and moves the file from there, which on another file system is a copy
    over the previous checkpoint.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None
    ) -> None:
        with atomic_checkpoint_file(Path(path)) as file:
            torch.save(checkpoint, file)


@contextmanager
def atomic_checkpoint_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file to write, which replaces `path` once it is on the disk; on an exception the old file stays.

    Raises:
        OSError: If the disk is full or not writable; the message says that training resumes from what is complete.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as draft, open(draft, "wb") as file:
            yield file
    except (OSError, RuntimeError) as error:
        # torch's writer raises its own error from the system's
        reason = error if isinstance(error, OSError) else error.__context__
        if not isinstance(reason, OSError):
            raise
        raise OSError(
            f"{path} could not be written: {reason.strerror or reason}; make room in that folder or name another "
            "(checkpoints_dir=…), and run the same command again: it resumes from the last complete epoch"
        ) from error
