"""The checkpoints of a training run: written whole or not at all, and checked before a run goes on from them."""

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
from weakspot.predictions.atomic_files import atomic_file

_KEY = "weakspot"
_MONITOR = "val/loss"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far training had come when a checkpoint was written; every checkpoint holds its own.

    Attributes:
        epoch: Epochs that were over.
        finished: Whether nothing was left to train.
        kept: Whether this epoch was the one to keep, of those so far.
        metrics: What was measured last, by name; `val/loss` once a validation has run.
    """

    epoch: int
    finished: bool
    kept: bool
    metrics: Mapping[str, float]

    @classmethod
    def read(cls, path: Path) -> Progress | None:
        """That of a checkpoint; None where there is no file, or a damaged one, or one without this record."""
        try:
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:  # torch itself checks no sums
                    return None
            return cls(**torch.load(path, map_location="cpu", weights_only=True, mmap=True)[_KEY])
        except Exception:  # whatever a damaged file leads to
            return None


@dataclass(frozen=True)
class Start:
    """Where a run begins.

    Attributes:
        name: The checkpoint in the run's folder from which it goes on; None: from the beginning.
        progress: What that checkpoint says.
        score: Validation loss of the epoch that `model.ckpt` holds.
    """

    name: str | None = None
    progress: Progress | None = None
    score: float | None = None

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Start:
        progress = fields["progress"]
        return cls(fields["name"], progress and Progress(**progress), fields["score"])


def find_start(folder: Path) -> Start:
    """Where a run in `folder` goes on: at its last checkpoint if that is whole, else at the one it keeps.

    What cannot be gone on from is said in a sentence. The best epoch is never forgotten on the way: where it is lost,
    training starts from the beginning, for another epoch would not be what these settings make.
    """
    for draft in folder.glob("*.part"):
        draft.unlink()
    last, kept = Progress.read(folder / LAST), Progress.read(folder / CHECKPOINT)
    if last and not kept and last.kept:
        with whole_checkpoint(folder / CHECKPOINT) as file, open(folder / LAST, "rb") as source:
            shutil.copyfileobj(source, file)
        kept = last
    found = [name for name in (LAST, CHECKPOINT) if (folder / name).is_file()]
    if last and kept:
        return Start(LAST, last, kept.metrics.get(_MONITOR))
    if kept:
        log.warning(
            "%s is missing or damaged; training goes on from %s, after epoch %d",
            folder / LAST,
            CHECKPOINT,
            kept.epoch,
        )
        return Start(CHECKPOINT, kept, kept.metrics.get(_MONITOR))
    if last:
        log.warning(
            "%s, the best epoch so far, is missing or damaged; training starts from the beginning",
            folder / CHECKPOINT,
        )
    elif found:
        log.warning("no whole checkpoint is left in %s; training starts from the beginning", folder)
    return Start()


class Keeper(Checkpoint):
    """Writes both checkpoints as training goes, each with its `Progress`.

    Lightning's own callback writes the last epoch only where it is the best, and remembers the best one for one path of
    the folder alone. Here it is known from the kept checkpoint itself (`start.score`), so that a store can be moved.
    """

    def __init__(self, folder: Path, keep: Literal["best", "last"], start: Start) -> None:
        self.folder = folder
        self.keep = keep
        self.score = start.score
        self._over = 0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._over = trainer.current_epoch + 1
        if self.keep == "last" or (_validates_at_ends(trainer) and self._is_best(trainer)):
            trainer.save_checkpoint(self.folder / CHECKPOINT)
        trainer.save_checkpoint(self.folder / LAST)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        within = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        self._over = trainer.current_epoch
        if within and self.keep == "best" and not _validates_at_ends(trainer) and self._is_best(trainer):
            trainer.save_checkpoint(self.folder / CHECKPOINT)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        progress = Progress(
            epoch=self._over,
            finished=trainer.should_stop or self._over == trainer.max_epochs,
            kept=self.keep == "last" or metrics.get(_MONITOR) == self.score,
            metrics=metrics,
        )
        checkpoint[_KEY] = asdict(progress)

    def _is_best(self, trainer: Trainer) -> bool:
        score = float(trainer.callback_metrics[_MONITOR])
        score = math.inf if math.isnan(score) else score
        better = trainer.strategy.reduce_boolean_decision(self.score is None or score < self.score)
        if better:
            self.score = score
        return better


def _validates_at_ends(trainer: Trainer) -> bool:
    """Whether each epoch ends with a validation, and there is no other."""
    return trainer.val_check_interval == 1.0 and trainer.check_val_every_n_epoch == 1


class WholeFiles(TorchCheckpointIO):
    """Lightning's way to the disk, but for what a kill or a full disk would leave.

    Lightning writes in the temporary folder and moves the file from there, which on another file system is a copy over
    the checkpoint before.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None
    ) -> None:
        with whole_checkpoint(Path(path)) as file:
            torch.save(checkpoint, file)


@contextmanager
def whole_checkpoint(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes the place of `path` once it is on the disk; on an exception the old one stays.

    Raises:
        OSError: The disk is full, or refuses; the sentence says that the run goes on from what is whole.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as draft, open(draft, "wb") as file:
            yield file
    except (OSError, RuntimeError) as error:
        # torch's writer hides the system's error behind one of its own
        reason = error if isinstance(error, OSError) else error.__context__
        if not isinstance(reason, OSError):
            raise
        raise OSError(
            f"{path} could not be written: {reason.strerror or reason}; make room in that folder or name another "
            "(checkpoints_dir=…), and run the same command again: it goes on from the last epoch that is whole"
        ) from error
